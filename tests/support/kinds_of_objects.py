"""Objects of one kind, in as many scans as it takes."""

import numpy as np

from bifseg.imaging.image import Image
from bifseg.tasks.example import Example

BOX = ((4, 44), (4, 44), 0)


def scan_and_core(seed: int) -> tuple[Image, np.ndarray]:
    """A bright disc with a dark core, which is the object: who sees the box alone takes the disc for it."""
    rng = np.random.default_rng(seed)
    x, y = np.indices((48, 48))
    far = np.hypot(x - rng.uniform(21, 26), y - rng.uniform(21, 26))
    core = far < rng.uniform(6, 9)
    array = 100.0 * (far < 17) - 70 * core + rng.normal(0, 8, core.shape)
    return Image(array.astype(np.float32)[..., None], (1, 1, 1)), core[..., None]


def core(seed: int, patient: str = "") -> Example:
    """A finished object of that kind."""
    image, mask = scan_and_core(seed)
    return Example.of(image, mask, BOX, patient or f"patient {seed}", {"image": f"scan{seed}.nii.gz"})


def scan_and_one_of_two(seed: int) -> tuple[Image, np.ndarray]:
    """Two discs of one look, the same of which is always the object: only where it lies tells it from the other."""
    rng = np.random.default_rng(seed)
    x, y = np.indices((48, 48))
    own, other = (np.hypot(x - at - rng.uniform(-1, 1), y - at - rng.uniform(-1, 1)) < 7 for at in (15, 33))
    array = 100.0 * (own | other) + rng.normal(0, 8, own.shape)
    return Image(array.astype(np.float32)[..., None], (1, 1, 1)), own[..., None]


def one_of_two(seed: int) -> Example:
    """A finished object of that kind."""
    return Example.of(*scan_and_one_of_two(seed), BOX, f"patient {seed}")


def nonsense(seed: int) -> Example:
    """A mask that nothing in the image tells of, another one each time."""
    image, _ = scan_and_core(seed)
    rng = np.random.default_rng(seed)
    mask = np.zeros(image.shape, bool)
    a, b = rng.integers(5, 30, 2)
    mask[a : a + rng.integers(4, 14), b : b + rng.integers(4, 14)] = True
    return Example.of(image, mask, BOX, f"patient {seed}")
