//! The template of a run: the built-in one, or one from a file.

use crate::io::nifti::{self, Header};
use crate::scan::hu;
use crate::scan::template;
use crate::scan::{Error, Result};
use crate::volume::{Grid, Volume};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::OnceLock;

/// What scans are registered to, and whose grid is the network's.
#[derive(Clone, Debug)]
pub struct Template {
    /// The file's name, or `built-in`.
    pub name: String,
    /// HU of the brain, 0 elsewhere.
    pub volume: Volume<f32>,
    /// The header of the file, for outputs in template space.
    header: Option<Header>,
    sha256: OnceLock<String>,
}

impl Template {
    /// The template in `file`, or the built-in one.
    ///
    /// # Errors
    /// As [`nifti::read`]; [`Error::Scan`] for a template without a brain.
    pub fn load(file: Option<&Path>) -> Result<Template> {
        let Some(file) = file else {
            return Ok(Template::of("built-in", template::built_in()));
        };
        let mut scan = nifti::read(file)?;
        hu::clamp(&mut scan.volume);
        let brain = scan.volume.voxels().iter().filter(|&&hu| hu > 0.0).count();
        if brain as f64 * scan.volume.grid().voxel_mm3() < 1000.0 {
            let problem = "the template holds no brain: give a brain-extracted CT in HU, 0 outside the brain".into();
            return Err(Error::Scan { path: file.to_path_buf(), problem });
        }
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Template { name, volume: scan.volume, header: Some(scan.header), sha256: OnceLock::new() })
    }

    /// A template that comes from no file.
    pub(crate) fn of(name: &str, volume: Volume<f32>) -> Template {
        Template { name: name.into(), volume, header: None, sha256: OnceLock::new() }
    }

    /// SHA-256 of the grid and the voxels, in hex. Computed at the first call.
    pub(crate) fn sha256(&self) -> String {
        self.sha256.get_or_init(|| sha256(&self.volume)).clone()
    }

    /// A header for outputs on `grid`: the template file's own where it is its grid.
    ///
    /// # Errors
    /// As [`Header::for_grid`].
    pub fn header_for(&self, grid: &Grid) -> Result<Header> {
        match &self.header {
            Some(header) if header.grid() == grid => Ok(header.clone()),
            _ => Ok(Header::for_grid(grid)?),
        }
    }
}

/// SHA-256 of a volume's grid and voxels, in hex.
pub(crate) fn sha256(volume: &Volume<f32>) -> String {
    let Grid { shape, affine } = volume.grid();
    let mut sum = Sha256::new();
    shape.iter().for_each(|side| sum.update((*side as u64).to_le_bytes()));
    affine.rows.as_flattened().iter().for_each(|number| sum.update(number.to_le_bytes()));
    volume.voxels().iter().for_each(|hu| sum.update(hu.to_le_bytes()));
    sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
