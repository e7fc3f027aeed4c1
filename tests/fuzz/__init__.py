"""What is read of strangers, fed with bytes: each module here is a target, and needs nothing but the tests' packages.

A target has

- ``seeds()``: good inputs, and some that are nearly good, from which a fuzzer starts;
- ``WORDS``: what inputs are made of;
- ``one_input(data)``: read these bytes as the product does. It ends well, or with an error of ours that it catches;
  whatever else it raises is a defect.

``python -m tests.fuzz names`` looks for such inputs with atheris; ``tests/damage/test_fuzz.py`` replays those that are
kept in ``tests/damage/corpus``.
"""
