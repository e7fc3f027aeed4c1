"""``python -m wsi_idc`` is the same as ``wsi-idc``."""

import sys

from wsi_idc.cli import main

if __name__ == "__main__":
    sys.exit(main())
