"""Names of classes that mean invasive carcinoma, as an exact table: no word is looked for inside another name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

_ENGLISH = """
tumor, tumors, tumour, tumours, tumor region, tumour region, tumor area, tumour area, viable tumor, viable tumour,
malignant tumor, malignant tumour, invasive, invasive tumor, invasive tumour, cancer, invasive cancer, breast cancer,
invasive breast cancer, carcinoma, invasive carcinoma, infiltrating carcinoma, breast carcinoma,
invasive breast carcinoma, mammary carcinoma, invasive mammary carcinoma, invasive ductal carcinoma,
infiltrating ductal carcinoma, ductal invasive carcinoma, invasive ductal cancer, invasive ductal breast carcinoma,
invasive ductal carcinoma idc, invasive ductal carcinoma nst, invasive ductal carcinoma nos, idc, idc nst, idc nos, nst,
ic nst, ibc nst, ibc, invasive nst, invasive carcinoma nst, invasive breast carcinoma nst,
invasive carcinoma of no special type, invasive carcinoma no special type, invasive carcinoma of no special type nst,
invasive breast carcinoma of no special type, invasive breast carcinoma of no special type nst,
invasive ductal carcinoma of no special type
"""
_GERMAN = """
Tumoren, Tumorgewebe, Tumorareal, invasiver Tumor, Karzinom, Mammakarzinom, Brustkrebs, Krebs, invasives Karzinom,
invasives Mammakarzinom, invasiv duktales Karzinom, invasives duktales Karzinom, invasiv duktales Mammakarzinom,
invasives duktales Mammakarzinom, invasives Karzinom NST, invasives Mammakarzinom NST,
invasives Karzinom ohne speziellen Typ
"""
_ROMANCE = """
tumeur, tumeurs, tumeur invasive, tumeur infiltrante, carcinome, carcinome invasif, carcinome infiltrant,
carcinome canalaire invasif, carcinome canalaire infiltrant, carcinome mammaire invasif, carcinome mammaire infiltrant,
carcinome infiltrant de type non spécifique, carcinome infiltrant TNS, carcinome infiltrant NST, cancer du sein,
cancer invasif, cancer infiltrant,
tumores, tumor invasivo, tumor invasor, carcinoma invasivo, carcinoma invasor, carcinoma infiltrante,
carcinoma ductal invasivo, carcinoma ductal invasor, carcinoma ductal infiltrante, carcinoma de mama,
carcinoma invasivo de tipo no especial, carcinoma invasivo NST, carcinoma infiltrante NST,
carcinoma invasivo de tipo não especial, carcinoma invasivo SOE, cáncer, cáncer de mama, cáncer invasivo, câncer,
câncer de mama, cancro, cancro da mama, CDI,
tumore, tumori, tumore invasivo, carcinoma duttale invasivo, carcinoma duttale infiltrante, carcinoma mammario,
carcinoma mammario invasivo, carcinoma mammario infiltrante, carcinoma invasivo di tipo non speciale,
tumoră, tumoare, carcinom, carcinom invaziv, carcinom ductal invaziv
"""
_NORTHERN = """
carcinoom, invasief carcinoom, invasief ductaal carcinoom, mammacarcinoom, invasief mammacarcinoom, kanker, borstkanker,
tumör, tumörer, invasiv cancer, invasiv tumör, invasiv duktal cancer, bröstcancer, invasiv bröstcancer, karcinom,
invasivt karcinom, invasivt duktalt karcinom, invasiv duktalt karcinom, kræft, brystkræft, invasiv tumor,
svulst, kreft, brystkreft, karsinom, invasivt karsinom, invasivt duktalt karsinom,
kasvain, syöpä, rintasyöpä, karsinooma, invasiivinen karsinooma, invasiivinen duktaalinen karsinooma
"""
_EASTERN = """
guz, rak, rak piersi, rak inwazyjny, rak naciekający, inwazyjny rak, inwazyjny rak przewodowy, rak przewodowy inwazyjny,
rak przewodowy naciekający, rak inwazyjny NST, nádor, invazivní karcinom, invazivní duktální karcinom, rakovina,
karcinóm, invazívny karcinóm, invazívny duktálny karcinóm, invazivni karcinom, invazivni duktalni karcinom,
daganat, karcinóma, invazív karcinóma, invazív carcinoma, invazív duktális karcinóma, invazív ductalis carcinoma, rák,
emlőrák, tümör, kanser, meme kanseri, invaziv karsinom, invazif karsinom, invaziv duktal karsinom,
invazif duktal karsinom, invaziv tümör, invazif tümör,
όγκος, καρκίνος, καρκίνωμα, διηθητικό καρκίνωμα, διηθητικό πορογενές καρκίνωμα,
опухоль, рак, карцинома, рак молочной железы, инвазивный рак, инвазивная карцинома, инвазивная протоковая карцинома,
инвазивный протоковый рак, инвазивная карцинома неспецифического типа,
пухлина, інвазивна карцинома, інвазивна протокова карцинома, інвазивний рак,
karsinoma, karsinoma invasif, karsinoma duktal invasif, kanker payudara
"""
_ASIAN = """
肿瘤, 肿瘤区域, 癌, 乳腺癌, 浸润癌, 浸润性癌, 浸润性乳腺癌, 浸润性导管癌, 非特殊型浸润性癌, 浸润性癌 非特殊型,
腫瘤, 乳癌, 浸潤癌, 浸潤性癌, 浸潤性乳癌, 浸潤性導管癌,
腫瘍, 腫瘍部, がん, 乳がん, 浸潤がん, 浸潤性乳がん, 浸潤性乳管癌, 浸潤性乳管がん,
종양, 암, 암종, 유방암, 침윤암, 침윤성 암, 침윤성 암종, 침윤성 유방암, 침윤성 관암종, 침윤성 유관암,
ورم, سرطان, سرطان الثدي, سرطان غازي, سرطانة غازية, سرطانة قنوية غازية, تومور, גידול, סרטן,
ट्यूमर, कैंसर, มะเร็ง, เนื้องอก, ung thư, khối u
"""

_REFINEMENTS = """
positive, nst, nos, idc, invasive, invasive ductal, ductal, g1, g2, g3, grade 1, grade 2, grade 3, 1+, 2+, 3+
"""
"""What may follow a class of the table behind a colon, as in QuPath's derived classes (``Tumor: Positive``)."""

_REGIONS = "region*, region, regions, roi, region of interest, tissue, tissue*, annotation, annotations"
"""Classes that say where somebody looked, not what is there: they neither count nor cut anything out."""

_IGNORED = "ignore*, ignore, ignored, exclude, excluded, exclusion, artifact, artefact"
"""Classes that take an area out of a region of interest."""


def normalised(name: str) -> str:
    """A class name for comparison: case, accents, blanks and the signs between words make no difference."""
    apart = unicodedata.normalize("NFKD", name.casefold())
    bare = "".join(sign for sign in apart if not unicodedata.combining(sign))
    return ": ".join(re.sub(r"[\s_\-.,;/()\[\]]+", " ", part).strip() for part in bare.casefold().split(":"))


def _table(*texts: str) -> frozenset[str]:
    return frozenset(normalised(name) for text in texts for name in text.split(","))


_IDC = _table(_ENGLISH, _GERMAN, _ROMANCE, _NORTHERN, _EASTERN, _ASIAN)
_REFINING = _table(_REFINEMENTS) | _IDC
_REGION, _IGNORE = _table(_REGIONS), _table(_IGNORED)


class IdcClasses:
    """Decides which class names are IDC.

    Parameters
    ----------
    only : iterable of str
        Names that alone count; without any the table of usual names decides.
    """

    def __init__(self, only: Iterable[str] = ()) -> None:
        self._only = frozenset(map(normalised, only))

    def __contains__(self, name: str) -> bool:
        name = normalised(name)
        if self._only:
            return name in self._only
        base, *derived = name.split(": ")
        return base in _IDC and all(part in _REFINING for part in derived)


def number_classes(classes: Sequence[str]) -> dict[str, int]:
    """The number of each class by its name as `normalised` has it; of two that are one then, the first counts."""
    return {normalised(one): i for i, one in reversed([*enumerate(classes)])}


def class_number(names: Iterable[str], numbers: Mapping[str, int]) -> int | None:
    """Which class is the first that an object names, of those that `number_classes` knows; None where it names none."""
    return next((numbers[name] for name in map(normalised, names) if name in numbers), None) if numbers else None


def is_region(name: str) -> bool:
    """Whether a class says only where somebody looked, as QuPath's ``Region*`` does."""
    return normalised(name) in _REGION


def is_ignored(name: str) -> bool:
    """Whether a class takes an area out of consideration, as QuPath's ``Ignore*`` does."""
    return normalised(name) in _IGNORE
