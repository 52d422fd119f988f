"""Writes a NIfTI scan in HU as a DICOM CT series, one file for each slice: an input for check-dicom where no real series is at hand.

Usage: phantom_dicom.py SCAN.nii.gz FOLDER
"""

import sys
from pathlib import Path

import nibabel
import numpy
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian


def main():
    scan = nibabel.as_closest_canonical(nibabel.load(sys.argv[1]))
    # RAS to LPS; DICOM's columns run to the left, its rows to the back.
    affine = numpy.diag([-1, -1, 1, 1]) @ scan.affine
    hu = numpy.asarray(scan.dataobj)[::-1, ::-1]
    affine = affine @ [[-1, 0, 0, hu.shape[0] - 1], [0, -1, 0, hu.shape[1] - 1], [0, 0, 1, 0], [0, 0, 0, 1]]
    spacing = numpy.linalg.norm(affine[:3, :3], axis=0)
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(hu.shape[2]):
        image = Dataset()
        image.SOPClassUID = CTImageStorage
        image.SOPInstanceUID = f"2.25.1000{number}"
        image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = "2.25.1", "2.25.2", "2.25.3"
        image.Modality, image.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
        image.PatientID, image.PatientName = "phantom", "Phantom"
        image.StudyDate = image.ContentDate = "20200101"
        image.StudyTime = image.ContentTime = "120000"
        image.StudyID, image.SeriesNumber, image.InstanceNumber = "1", 1, number + 1
        image.Rows, image.Columns = hu.shape[1], hu.shape[0]
        image.PixelSpacing = [f"{mm:.10g}" for mm in (spacing[1], spacing[0])]
        image.SliceThickness = f"{spacing[2]:.10g}"
        image.ImagePositionPatient = [f"{mm:.10g}" for mm in (affine @ [0, 0, number, 1])[:3]]
        image.ImageOrientationPatient = [f"{cosine:.10f}" for axis in (0, 1) for cosine in affine[:3, axis] / spacing[axis]]
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
        image.RescaleSlope, image.RescaleIntercept = 1, 0
        image.PixelData = hu[:, :, number].T.round().astype("<i2").tobytes()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        pydicom.dcmwrite(folder / f"{number:03}.dcm", image, enforce_file_format=True)


main()
