//! What a build lacks is told where a user meets it, with the feature that brings it. Runs in every build.

use ichor::batch::inputs;
use ichor::network::device::{Device, Grade};
use ichor::network::weights::Weights;

/// Whether an error is that of a build without `feature`.
fn is_told(error: &dyn std::error::Error, feature: &str) -> bool {
    error.to_string().contains(&format!("the feature `{feature}`"))
}

#[test]
fn a_build_without_dicom_says_so_for_a_file_and_for_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    // A DICOM file in its first bytes only: a build with DICOM says that it is cut.
    let mut bytes = vec![0; 128];
    bytes.extend(b"DICM");
    let file = folder.path().join("slice.dcm");
    std::fs::write(&file, bytes).unwrap();
    for input in [file.as_path(), folder.path()] {
        let error = inputs::read_one(input, None).unwrap_err();
        assert_eq!(is_told(&error, "dicom"), !cfg!(feature = "dicom"), "{error}");
        assert!(error.to_string().starts_with(&input.display().to_string()), "{error}");
        let jobs = inputs::find(&[input.to_path_buf()]).unwrap();
        let error = inputs::read(&jobs[0], None).unwrap_err();
        assert_eq!(is_told(&error, "dicom"), !cfg!(feature = "dicom"), "{error}");
    }
}

#[test]
fn a_build_without_dicom_reads_the_nifti_file_of_a_folder_that_holds_dicom_too() {
    use ichor::io::nifti;
    use ichor::volume::{Affine, Grid, Volume};
    let folder = tempfile::tempdir().unwrap();
    let grid = Grid { shape: [2, 3, 4], affine: Affine::IDENTITY };
    let volume = Volume::new(grid.clone(), vec![7.0_f32; grid.len()]);
    nifti::write(folder.path().join("scan.nii"), &volume, &nifti::Header::for_grid(&grid).unwrap()).unwrap();
    let mut bytes = vec![0; 128];
    bytes.extend(b"DICM");
    std::fs::create_dir(folder.path().join("dicom")).unwrap();
    std::fs::write(folder.path().join("dicom/slice.dcm"), bytes).unwrap();
    let scan = inputs::read_one(folder.path(), None).unwrap();
    assert_eq!(scan.volume.voxels(), volume.voxels());
    let warnings: Vec<String> = scan.warnings.iter().map(|warning| warning.to_string()).collect();
    let told = warnings.iter().any(|warning| warning.contains("slice.dcm") && warning.contains("the feature `dicom`"));
    assert_eq!(told, !cfg!(feature = "dicom"), "{warnings:?}");
}

#[test]
fn a_build_without_cuda_says_so_for_its_devices_before_and_at_loading() {
    let device: Device = "cuda:1".parse().unwrap();
    let lacks = !cfg!(feature = "cuda");
    let check = device.check();
    assert_eq!(check.as_ref().is_err_and(|error| is_told(error, "cuda")), lacks, "{check:?}");
    let weights = Weights::hand_set();
    let load = device.load(&weights, [16; 3], 1, Grade::Exact).map(|engine| engine.device());
    assert_eq!(load.as_ref().is_err_and(|error| is_told(error, "cuda")), lacks, "{load:?}");
    let all = Device::all(1);
    let gpus = all.iter().find(|found| matches!(found.device, Device::Cuda(_)));
    assert_eq!(gpus.is_some_and(|gpu| matches!(&gpu.detail, Err(why) if why.contains("the feature `cuda`"))), lacks);
}

#[test]
fn a_build_without_weights_says_so() {
    match Weights::built_in() {
        Ok(weights) => assert!(cfg!(feature = "built-in-weights") && weights.name() == "built-in"),
        Err(error) => assert!(!cfg!(feature = "built-in-weights") && is_told(&error, "built-in-weights"), "{error}"),
    }
}
