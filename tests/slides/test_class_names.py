"""Class names are compared as wholes: no word counts inside another name."""

from __future__ import annotations

import pytest

from wsi_idc.slides.class_names import IdcClasses, is_ignored, is_region

COUNTS = [
    *("Tumor", "tumour", "TUMOR", " Tumor ", "Tumors", "IDC", "idc", "NST", "IDC (NST)", "Invasive", "Carcinoma"),
    *("Invasive carcinoma", "invasive_carcinoma", "Invasive-Carcinoma", "Invasive  ductal\tcarcinoma", "breast cancer"),
    *("Invasive carcinoma of no special type", "Invasive ductal carcinoma (IDC)", "Invasive carcinoma, NST"),
    *("Tumor: Positive", "Tumor:Positive", "IDC: Grade 2", "Tumor: IDC", "Carcinoma: invasive"),
    *("Karzinom", "Invasives duktales Karzinom", "Invasiv-duktales Mammakarzinom", "Brustkrebs"),
    *("Tumeur", "Carcinome infiltrant", "carcinome canalaire infiltrant", "Carcinoma ductal infiltrante", "cáncer"),
    *("Carcinoma ductal invasor", "Câncer de mama", "Tumore", "Carcinoma duttale infiltrante", "Cancro"),
    *("Carcinoom", "Invasief ductaal carcinoom", "Tumör", "TUMÖR", "Tumo\u0308r", "Bröstcancer", "Kræft", "Svulst"),
    *("Kasvain", "Syöpä", "Guz", "Rak naciekający", "rak naciekajacy", "Nádor", "Emlőrák", "Tümör",),
    *("İnvaziv karsinom",),
    *("Опухоль", "Инвазивная карцинома", "Пухлина", "Καρκίνωμα", "肿瘤", "浸润性导管癌"),
    *("腫瘍", "浸潤性乳管癌", "종양"),
]  # fmt: skip

OTHERS = [
    *("Intraductal carcinoma", "Benign tumour", "Fat next to tumor", "Ignore*", "Ignore", "Tumorlike", "non-tumor"),
    *("nontumor", "No tumor", "not IDC", "no IDC", "Non-invasive carcinoma", "Ductal carcinoma in situ", "DCIS"),
    *("Carcinoma in-situ", "carcinoma_in_situ", "Peritumoral stroma", "Tumor-associated stroma", "Tumor bed", "Tumor*"),
    *("Tumor-free", "cancer free margin", "DCIS with invasive carcinoma", "Invasive lobular carcinoma", "pre-invasive"),
    *("Stroma", "Necrosis", "Tumor necrosis", "Immune cells", "Other", "Region*", "Negative", "Positive", "Normal"),
    *("LCIS", "0"),
    *("Tumor: Negative", "Tumor: DCIS", "Tumor: Stroma", "Stroma: Tumor", "Tumor: in situ", "Tumor:", ": Tumor", ""),
    *("Gutartiger Tumor", "kein Tumor", "Carcinoma in situ", "Karzinom in situ", "carcinome in situ"),
    *("非肿瘤", "原位癌"),
    *("Tumor Stroma", "Tumor/Stroma", "Tumor or not", "IDC negative", "Tumor?"),
]  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name: str) -> None:
    assert name in IdcClasses()


@pytest.mark.parametrize("name", OTHERS)
def test_does_not_count(name: str) -> None:
    assert name not in IdcClasses()


def test_a_name_inside_a_name_never_counts() -> None:
    """Any name of the table with a word before, behind or around it."""
    for name in ("Tumor", "IDC", "Invasive carcinoma", "carcinoma", "NST", "tumeur", "рак", "癌"):
        for around in ("Benign {}", "{} free", "no {}", "x{}", "{}x", "peri{}al", "{} and fat", "intra{}"):
            assert around.format(name) not in IdcClasses(), around.format(name)


def test_names_that_are_given_stand_alone() -> None:
    given = IdcClasses(["Mammary  CA", "_0"])
    assert all(name in given for name in ("mammary ca", " Mammary CA", "_0", "Mammary_Ca"))
    assert not any(name in given for name in ("Tumor", "Mammary", "Mammary CA: Positive", ""))
    assert "tumor: negative" in IdcClasses(["Tumor: Negative"])


def test_regions_and_what_is_ignored() -> None:
    assert is_region("Region*") and is_region("ROI") and not is_region("Stroma")
    assert is_ignored("Ignore*") and is_ignored(" ignore ") and not is_ignored("Tumor")
