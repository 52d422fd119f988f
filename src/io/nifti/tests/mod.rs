//! Files made byte by byte by the standard, not by the code under test, and read; what is written, read by the `nifti` crate.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;
use crate::io::Error;
use crate::volume::testing::{affine, rotation, signed_permutations, sum_of_squares};
use crate::volume::{Affine, Grid, orientation};

mod content;
mod dimensions;
mod geometry;
mod pairs;
mod voxels;
mod writing;

/// A file as the standard lays it out, of either version and byte order.
#[derive(Clone, Debug)]
struct File {
    version: Version,
    big_endian: bool,
    dim: [i64; 8],
    datatype: i16,
    pixdim: [f64; 8],
    vox_offset: f64,
    slope: f64,
    inter: f64,
    units: u8,
    qform_code: i16,
    sform_code: i16,
    quatern: [f64; 3],
    qoffset: [f64; 3],
    srow: [[f64; 4]; 3],
    magic: &'static [u8],
    /// Between header and voxels: the extender and whatever comes then.
    gap: Vec<u8>,
    voxels: Vec<u8>,
}

impl File {
    /// 2 x 3 x 2 bytes, 0 to 11, with an sform.
    fn small(version: Version) -> File {
        File {
            version,
            big_endian: false,
            dim: [3, 2, 3, 2, 1, 1, 1, 1],
            datatype: 2,
            pixdim: [1.0, 0.5, 0.5, 4.0, 0.0, 0.0, 0.0, 0.0],
            vox_offset: if version == Version::One { 352.0 } else { 544.0 },
            slope: 0.0,
            inter: 0.0,
            units: 10,
            qform_code: 0,
            sform_code: 1,
            quatern: [0.0; 3],
            qoffset: [0.0; 3],
            srow: [[0.5, 0.0, 0.0, -7.0], [0.0, 0.5, 0.0, 8.0], [0.0, 0.0, 4.0, 9.0]],
            magic: if version == Version::One { b"n+1\0" } else { b"n+2\0\r\n\x1a\n" },
            gap: vec![0; 4],
            voxels: (0..12).collect(),
        }
    }

    /// As [`File::small`], of one voxel of the given type.
    fn voxel(datatype: i16, bytes: &[u8]) -> File {
        File { dim: [1, 1, 0, 0, 0, 0, 0, 0], datatype, voxels: bytes.to_vec(), ..File::small(Version::One) }
    }

    fn with_affine(mut self, affine: &Affine) -> File {
        self.srow = affine.rows;
        self
    }

    fn number<const N: usize>(&self, mut bytes: [u8; N]) -> [u8; N] {
        if self.big_endian {
            bytes.reverse();
        }
        bytes
    }

    fn header(&self) -> Vec<u8> {
        let mut bytes = vec![0; if self.version == Version::One { 348 } else { 540 }];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        let i16 = |value: i64| self.number((value as i16).to_le_bytes());
        let i32 = |value: i64| self.number((value as i32).to_le_bytes());
        let i64 = |value: i64| self.number(value.to_le_bytes());
        let f32 = |value: f64| self.number((value as f32).to_le_bytes());
        let f64 = |value: f64| self.number(value.to_le_bytes());
        match self.version {
            Version::One => {
                put(0, &i32(348));
                put(4, b"data_type");
                (0..8).for_each(|n| put(40 + 2 * n, &i16(self.dim[n])));
                put(70, &i16(self.datatype.into()));
                (0..8).for_each(|n| put(76 + 4 * n, &f32(self.pixdim[n])));
                put(108, &f32(self.vox_offset));
                put(112, &f32(self.slope));
                put(116, &f32(self.inter));
                put(123, &[self.units]);
                put(148, b"a head");
                put(228, b"aux");
                put(252, &i16(self.qform_code.into()));
                put(254, &i16(self.sform_code.into()));
                (0..3).for_each(|n| put(256 + 4 * n, &f32(self.quatern[n])));
                (0..3).for_each(|n| put(268 + 4 * n, &f32(self.qoffset[n])));
                (0..12).for_each(|n| put(280 + 4 * n, &f32(self.srow[n / 4][n % 4])));
                put(328, b"intent");
                put(344, self.magic);
            }
            Version::Two => {
                put(0, &i32(540));
                put(4, self.magic);
                put(12, &i16(self.datatype.into()));
                (0..8).for_each(|n| put(16 + 8 * n, &i64(self.dim[n])));
                (0..8).for_each(|n| put(104 + 8 * n, &f64(self.pixdim[n])));
                put(168, &i64(self.vox_offset as i64));
                put(176, &f64(self.slope));
                put(184, &f64(self.inter));
                put(240, b"a head");
                put(320, b"aux");
                put(344, &i32(self.qform_code.into()));
                put(348, &i32(self.sform_code.into()));
                (0..3).for_each(|n| put(352 + 8 * n, &f64(self.quatern[n])));
                (0..3).for_each(|n| put(376 + 8 * n, &f64(self.qoffset[n])));
                (0..12).for_each(|n| put(400 + 8 * n, &f64(self.srow[n / 4][n % 4])));
                put(500, &i32(self.units.into()));
                put(508, b"intent");
            }
        }
        bytes
    }

    fn bytes(&self) -> Vec<u8> {
        [self.header(), self.gap.clone(), self.voxels.clone()].concat()
    }

    fn read(&self) -> Result<Scan, NiftiError> {
        read_bytes(&self.bytes())
    }

    fn error(&self) -> NiftiError {
        self.read().unwrap_err()
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

const VERSIONS: [Version; 2] = [Version::One, Version::Two];

/// The quaternion of a rotation about an axis.
fn quaternion(axis: [f64; 3], angle: f64) -> [f64; 3] {
    let length = axis.iter().map(|a| a * a).sum::<f64>().sqrt();
    axis.map(|a| a / length * (angle / 2.0).sin())
}
