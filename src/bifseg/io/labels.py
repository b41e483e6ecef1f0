"""What objects are usually called, with the codes that DICOM-SEG has for it and a colour to know it by."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Colours that colour-blind people can tell apart (Okabe and Ito 2008); those of the page, too.
PALETTE = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#0072b2", "#b5b5b5")
ORANGE, SKY, GREEN, YELLOW, PINK, VERMILION, BLUE, GREY = PALETTE

Code = tuple[str, str]  # SNOMED CT: value and meaning
STRUCTURE: Code = ("91723000", "Anatomical Structure")
ABNORMAL: Code = ("49755003", "Morphologically Abnormal Structure")
TISSUE: Code = ("85756007", "Tissue")
LEFT: Code = ("7771000", "Left")
RIGHT: Code = ("24028007", "Right")


@dataclass(frozen=True)
class Label:
    """A name, and what DICOM calls it: SNOMED CT codes of its category and type, and of its side where it has one."""

    name: str
    type: Code
    colour: str
    category: Code = STRUCTURE
    side: Code | None = None


def _sides(name: str, type: Code, colour: str) -> tuple[Label, ...]:
    return (
        Label(f"left {name}", type, colour, side=LEFT),
        Label(f"right {name}", type, colour, side=RIGHT),
        Label(name, type, colour),
    )


LABELS: tuple[Label, ...] = (
    Label("liver", ("10200004", "Liver"), VERMILION),
    Label("spleen", ("78961009", "Spleen"), PINK),
    *_sides("kidney", ("64033007", "Kidney"), ORANGE),
    *_sides("adrenal gland", ("23451007", "Adrenal gland"), YELLOW),
    Label("pancreas", ("15776009", "Pancreas"), YELLOW),
    Label("gallbladder", ("28231008", "Gallbladder"), GREEN),
    Label("stomach", ("69695003", "Stomach"), SKY),
    Label("duodenum", ("38848004", "Duodenum"), GREY),
    Label("colon", ("71854001", "Colon"), BLUE),
    Label("prostate", ("41216001", "Prostate"), ORANGE),
    Label("uterus", ("35039007", "Uterus"), PINK),
    *_sides("lung", ("39607008", "Lung"), SKY),
    Label("heart", ("80891009", "Heart"), VERMILION),
    Label("left ventricle", ("87878005", "Left ventricle"), VERMILION),
    Label("right ventricle", ("53085002", "Right ventricle"), BLUE),
    Label("left atrium", ("82471001", "Left atrium"), PINK),
    Label("aorta", ("15825003", "Aorta"), VERMILION),
    Label("inferior vena cava", ("64131007", "Inferior vena cava"), BLUE),
    Label("portal vein", ("32764006", "Portal vein"), SKY),
    Label("trachea", ("44567001", "Trachea"), SKY),
    Label("brain", ("12738006", "Brain"), GREY),
    Label("spinal cord", ("2748008", "Spinal cord"), YELLOW),
    *_sides("hippocampus", ("5366008", "Hippocampus"), PINK),
    Label("vertebra", ("51282000", "Vertebra"), GREY),
    Label("bone", ("272673000", "Bone"), GREY),
    Label("lymph node", ("59441001", "Lymph Node"), GREEN),
    Label("muscle", ("71616004", "Muscle"), VERMILION, TISSUE),
    Label("fat", ("256674009", "Fat"), YELLOW, TISSUE),
    Label("tumor", ("108369006", "Tumor"), GREEN, ABNORMAL),
    Label("lesion", ("52988006", "Lesion"), GREEN, ABNORMAL),
    Label("nodule", ("27925004", "Nodule"), GREEN, ABNORMAL),
    Label("cyst", ("367643001", "Cyst"), SKY, ABNORMAL),
    Label("edema", ("79654002", "Edema"), SKY, ABNORMAL),
    Label("necrosis", ("6574001", "Necrosis"), BLUE, ABNORMAL),
    Label("hemorrhage", ("50960005", "Hemorrhage"), VERMILION, ABNORMAL),
    Label("thrombus", ("396339007", "Thrombus"), BLUE, ABNORMAL),
)
_KNOWN = {label.name: label for label in LABELS}


def label_of(name: str) -> Label | None:
    """The label that an object's name is, in any case, with or without a number after it; None for another name.

    >>> label_of("Left kidney").type
    ('64033007', 'Kidney')
    >>> label_of("lesion 3").name
    'lesion'
    """
    return _KNOWN.get(re.sub(r"[\s_#-]*\d+$", "", " ".join(name.split()).casefold()))
