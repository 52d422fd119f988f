#!/usr/bin/env python3
"""Where false blood lies: scripts/where_false_blood.py SET MASKS... (numpy, nibabel, scipy).

SET has scans NAME.nii.gz with NAME_label.nii.gz, as `ichor phantom` makes them; each MASKS has NAME_ich.nii.gz of some weights. Prints the mean mL of a scan:
all false blood, that within 8 mm of the skull (the largest piece above 150 HU), that within 4 mm of a calcification (a smaller piece, below 4 mL) and further from
the skull, and what is missed. For research use only, not for diagnosis.
"""

import pathlib
import sys

import nibabel
import numpy as np
from scipy.ndimage import distance_transform_edt, label

BONE_HU, SKULL_MM, CALCIFICATION_MM, CALCIFICATION_ML = 150, 8, 4, 4


def distances(image):
    """Millimetres from the skull and from the nearest calcification, of each voxel."""
    hu, spacing = np.asarray(image.dataobj), image.header.get_zooms()[:3]
    pieces, _ = label(hu > BONE_HU)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    skull = pieces == sizes.argmax()
    calcified = (pieces > 0) & ~skull & (sizes[pieces] * np.prod(spacing) < 1000 * CALCIFICATION_ML)
    from_calcified = distance_transform_edt(~calcified, sampling=spacing) if calcified.any() else np.full(hu.shape, np.inf)
    return distance_transform_edt(~skull, sampling=spacing), from_calcified


def main():
    scans, *folders = map(pathlib.Path, sys.argv[1:])
    sums = {folder: np.zeros(4) for folder in folders}
    labels = sorted(scans.glob("*_label.nii.gz"))
    for path in labels:
        name = path.name.removesuffix("_label.nii.gz")
        image = nibabel.load(scans / f"{name}.nii.gz")
        blood = np.asarray(nibabel.load(path).dataobj) > 0
        from_skull, from_calcified = distances(image)
        for folder in folders:
            found = np.asarray(nibabel.load(folder / f"{name}_ich.nii.gz").dataobj) > 0
            false = found & ~blood
            near = false & (from_skull <= SKULL_MM)
            calcified = false & ~near & (from_calcified <= CALCIFICATION_MM)
            parts = [false, near, calcified, blood & ~found]
            sums[folder] += [part.sum() * np.prod(image.header.get_zooms()[:3]) / 1000 for part in parts]
    for folder in folders:
        false, near, calcified, missed = sums[folder] / len(labels)
        print(f"{folder.name}\tfalse {false:.2f} mL, at the skull {near:.2f}, at calcifications {calcified:.2f}; missed {missed:.2f}")
    print("For research use only, not for diagnosis.")


if __name__ == "__main__":
    main()
