"""Reads every NAME_ich.dcm and NAME_ich_sr.dcm of a folder by pydicom and highdicom and compares them with NAME_ich.nii.gz, NAME_ich.json and the source images.

Usage: check_dicom.py SOURCE_FOLDER OUTPUT_FOLDER (called by check-dicom).

Every pixel is placed by the position and orientation of its *source image*, looked up in the mask by its affine (nearest voxel), and must have the mask's value.
The structured report must have the volume of the JSON report, and refer to the segmentation and to all source images.
"""

import json
import sys
from pathlib import Path

import highdicom
import nibabel
import numpy
import pydicom


def sources(folder):
    """Source data sets by SOP instance UID."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            try:
                data = pydicom.dcmread(path, stop_before_pixels=True)
                found[data.SOPInstanceUID] = data
            except (pydicom.errors.InvalidDicomError, AttributeError):
                continue
    return found


def expected(mask, source):
    """The mask's values at the pixels of a source image."""
    row, column = (numpy.array(source.ImageOrientationPatient[n : n + 3], float) for n in (0, 3))
    r, c = numpy.mgrid[: source.Rows, : source.Columns]
    down, right = (float(mm) for mm in source.PixelSpacing)
    lps = numpy.array(source.ImagePositionPatient, float) + r[..., None] * down * column + c[..., None] * right * row
    ras = lps * [-1, -1, 1]
    inverse = numpy.linalg.inv(mask.affine)
    exact = ras @ inverse[:3, :3].T + inverse[:3, 3]
    index = numpy.floor(exact + 0.5).astype(int)
    values = numpy.asarray(mask.dataobj) > 0
    inside = ((index >= 0) & (index < values.shape)).all(-1)
    clipped = numpy.clip(index, 0, numpy.array(values.shape) - 1)
    # Where a pixel is as near to one voxel as to another, single precision of the NIfTI header decides.
    tie = (numpy.abs(exact - numpy.floor(exact) - 0.5) < 1e-3).any(-1)
    return inside & values[tuple(numpy.moveaxis(clipped, -1, 0))], tie


def check(path, images):
    """Checks one object; gives its voxels of blood."""
    mask = nibabel.load(str(path)[: -len(".dcm")] + ".nii.gz")
    segmentation = highdicom.seg.segread(path)
    # In the order of the frames, which is the one that pydicom reads.
    of_frame = [
        group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        for group in segmentation.PerFrameFunctionalGroupsSequence
    ]
    assert {uids[2] for uids in segmentation.get_source_image_uids()} == set(of_frame)
    wanted = [images[instance] for instance in of_frame]
    pixels = segmentation.get_pixels_by_source_instance(
        [image.SOPInstanceUID for image in wanted], segment_numbers=[1]
    )[..., 0]
    different = 0
    for frame, image in zip(pixels, wanted):
        values, tie = expected(mask, image)
        different += int(((frame > 0) != values)[~tie].sum())
    # highdicom's own view of the geometry, where the series is regular, must be the source's.
    for attribute in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert getattr(segmentation, attribute) == getattr(wanted[0], attribute), attribute
    for group, source in zip(segmentation.PerFrameFunctionalGroupsSequence, wanted):
        written = numpy.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        assert numpy.allclose(written, numpy.array(source.ImagePositionPatient, float), atol=1e-6)
    assert (pixels == pydicom.dcmread(path).pixel_array).all(), "pydicom and highdicom read the same"
    description = segmentation.get_segment_description(1)
    print(
        f"{path.name}: {len(wanted)} frames, {int((pixels > 0).sum())} voxels of {description.segment_label} "
        f"({description.algorithm_identification.name}); {int((numpy.asarray(mask.dataobj) > 0).sum())} in the volume; "
        f"{different} differ"
    )
    return different


def check_report(path, images):
    """Checks one structured report; gives how many things are wrong."""
    stem = str(path)[: -len("_sr.dcm")]
    told = json.loads(Path(stem + ".json").read_text())
    segmentation = pydicom.dcmread(stem + ".dcm", stop_before_pixels=True)
    document = highdicom.sr.srread(path)
    [group] = document.content.get_volumetric_roi_measurement_groups()
    [volume] = group.get_measurements()
    [observer] = document.content.get_observer_contexts()
    segment = group.referenced_segment
    evidence = document.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    referenced = {
        instance.ReferencedSOPInstanceUID for series in evidence for instance in series.ReferencedSOPSequence
    }
    source = next(iter(images.values()))
    texts = [item.TextValue for item in document.ContentSequence if item.ValueType == "TEXT"]
    same = {
        "volume in mL": (volume.value, volume.unit.value) == (told["volume_ml"], "mL"),
        "volume as a decimal": abs(float(volume[0].MeasuredValueSequence[0].NumericValue) - told["volume_ml"]) < 1e-9,
        "finding": group.finding_type == segmentation.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0],
        "finding site": group.finding_sites[0].value == segmentation.SegmentSequence[0].AnatomicRegionSequence[0],
        "segment": (segment.referenced_sop_instance_uid, segment.referenced_segment_numbers) == (segmentation.SOPInstanceUID, [1]),
        "tracking UID": group.tracking_uid == segmentation.SegmentSequence[0].TrackingUID,
        "source series": segment.source_series_for_segmentation.value == source.SeriesInstanceUID,
        "evidence": referenced == {*images, segmentation.SOPInstanceUID},
        "patient and study": all(
            getattr(document, attribute) == getattr(source, attribute) for attribute in ("PatientID", "StudyInstanceUID")
        ),
        "weights": observer.observer_identifying_attributes.serial_number == told["weights"]["sha256"],
        "notice": told["notice"] in texts,
        "warnings": all(any(warning["text"] in text for text in texts) for warning in told["warnings"]),
    }
    wrong = [name for name, right in same.items() if not right]
    print(
        f"{path.name}: {volume.name.meaning} {volume.value} {volume.unit.value} of {group.finding_type.meaning}, "
        f"{len(referenced)} files referred to; " + (f"wrong: {', '.join(wrong)}" if wrong else "all as told elsewhere")
    )
    return len(wrong)


def main():
    images = sources(sys.argv[1])
    objects = sorted(Path(sys.argv[2]).glob("*_ich.dcm"))
    reports = sorted(Path(sys.argv[2]).glob("*_ich_sr.dcm"))
    assert objects and len(objects) == len(reports), "DICOM-SEG and structured report of every scan"
    wrong = sum(check(path, images) for path in objects) + sum(check_report(path, images) for path in reports)
    sys.exit(1 if wrong else 0)


main()
