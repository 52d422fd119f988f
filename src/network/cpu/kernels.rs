//! The engine's kernels, compiled for each set of instructions, and the choice among them at run time.

use super::gemm::{Part, micro};
use super::rows::{self, Finish, HeadRow, InputFinish, InputPoints, InputRow};
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Portable, Simd};
use super::winograd::pack::WeightLines;
use super::winograd::transform::{self, Inverse, Lines};
use crate::network::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// A set of instructions that the engine has kernels for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Instructions {
    /// What every processor has.
    Portable,
    /// AVX2 and FMA (x86-64 from about 2013).
    Avx2,
    /// AVX-512 F (x86-64 servers from 2017, Zen 4).
    Avx512,
}

impl Instructions {
    /// All of them, slowest first.
    pub const ALL: [Instructions; 3] = [Instructions::Portable, Instructions::Avx2, Instructions::Avx512];

    /// Whether this processor has them.
    pub fn available(self) -> bool {
        match self {
            Instructions::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => is_x86_feature_detected!("avx512f") && Instructions::Avx2.available(),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// The fastest that this processor has.
    pub fn best() -> Instructions {
        Instructions::ALL.into_iter().rev().find(|i| i.available()).expect("the portable kernels are always there")
    }
}

impl fmt::Display for Instructions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Instructions::Portable => "portable",
            Instructions::Avx2 => "avx2",
            Instructions::Avx512 => "avx512",
        })
    }
}

impl FromStr for Instructions {
    type Err = Error;

    fn from_str(name: &str) -> Result<Instructions> {
        let found = Instructions::ALL.into_iter().find(|i| i.to_string() == name);
        found.ok_or_else(|| Error::Device(format!("{name:?} is no set of instructions: portable, avx2 and avx512 are")))
    }
}

/// The kernels for one set of instructions.
///
/// # Safety
/// Each function's contract is that of the generic function it is made from; that the processor has the instructions is checked by [`Kernels::of`].
pub struct Kernels {
    /// Width of a weight panel in blocks of 16 channels.
    pub panel: usize,
    /// Most rows of a matrix product that are kept in registers.
    pub rows: usize,
    /// See [`micro`]: for 1, 2, .. blocks those for 1, 2, .. rows.
    pub micro: &'static [&'static [unsafe fn(&Part)]],
    /// See [`rows::finish`].
    pub finish: unsafe fn(&Finish),
    /// See [`rows::input_row`].
    pub input_row: unsafe fn(&InputRow),
    /// See [`rows::input_points`].
    pub input_points: unsafe fn(&InputPoints),
    /// See [`rows::input_finish`].
    pub input_finish: unsafe fn(&InputFinish),
    /// See [`rows::head_row`].
    pub head_row: unsafe fn(&HeadRow),
    /// See [`transform::weights`].
    pub weights: unsafe fn(&WeightLines),
    /// See [`transform::forward`]: 1, 6 and 8 points.
    pub forward: [unsafe fn(&Lines); 3],
    /// See [`transform::inverse`]: 1, 6 and 8 points.
    pub inverse: [unsafe fn(&Lines); 3],
    /// See [`transform::inverse_finish`]: 1, 6 and 8 points.
    pub inverse_finish: [unsafe fn(&Inverse); 3],
}

/// Place of the transform with a number of points among the kernels of [`Kernels::forward`] and its like.
pub fn by_points(points: usize) -> usize {
    match points {
        1 => 0,
        6 => 1,
        8 => 2,
        _ => unreachable!("there are transforms with 1, 6 and 8 points"),
    }
}

impl Kernels {
    /// The kernels for a set of instructions.
    ///
    /// # Errors
    /// [`Error::Device`] where this processor does not have them.
    pub fn of(instructions: Instructions) -> Result<&'static Kernels> {
        if !instructions.available() {
            return Err(Error::Device(format!("this processor has no {instructions} instructions")));
        }
        Ok(match instructions {
            Instructions::Portable => &portable::KERNELS,
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => &avx2::KERNELS,
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => &avx512::KERNELS,
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("not available, as was checked"),
        })
    }
}

/// Compiles every kernel for the vectors `$simd` with the target features `$features`.
macro_rules! compile {
    ($module:ident, $simd:ident $(, $features:literal)?; $($blocks:literal by [$($rows:literal),+]),+) => {
        mod $module {
            use super::*;

            pub static KERNELS: Kernels = Kernels {
                panel: [$($blocks),+].len(),
                rows: $simd::ROWS,
                micro: &[$(&[$(product::<$rows, $blocks>),+]),+],
                finish,
                input_row,
                input_points,
                input_finish,
                head_row,
                weights,
                forward: [forward::<1>, forward::<6>, forward::<8>],
                inverse: [inverse::<1>, inverse::<6>, inverse::<8>],
                inverse_finish: [inverse_finish::<1>, inverse_finish::<6>, inverse_finish::<8>],
            };

            $(#[target_feature(enable = $features)])?
            unsafe fn product<const R: usize, const B: usize>(part: &Part) {
                // SAFETY: the caller's promise; the features are those of the vectors.
                unsafe { micro::<$simd, R, B>(part) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn finish(f: &Finish) {
                // SAFETY: the caller's promise; the features are those of the vectors.
                unsafe { rows::finish::<$simd>(f) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn input_row(i: &InputRow) {
                // SAFETY: the caller's promise; the features are those of the vectors.
                unsafe { rows::input_row::<$simd>(i) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn input_points(i: &InputPoints) {
                // SAFETY: the caller's promise; the features are those of the vectors.
                unsafe { rows::input_points::<$simd>(i) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn input_finish(i: &InputFinish) {
                // SAFETY: the caller's promise; the features are those of the vectors.
                unsafe { rows::input_finish::<$simd>(i) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn head_row(h: &HeadRow) {
                // SAFETY: the caller's promise; the features are those of the vectors.
                unsafe { rows::head_row::<$simd>(h) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn weights(l: &WeightLines) {
                // SAFETY: the caller's promise; the features are those of the vectors.
                unsafe { transform::weights::<$simd>(l) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn forward<const N: usize>(l: &Lines) {
                // SAFETY: the caller's promise; the features are those of the vectors.
                unsafe { transform::forward::<$simd, N>(l) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn inverse<const N: usize>(l: &Lines) {
                // SAFETY: the caller's promise; the features are those of the vectors.
                unsafe { transform::inverse::<$simd, N>(l) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn inverse_finish<const N: usize>(i: &Inverse) {
                // SAFETY: the caller's promise; the features are those of the vectors.
                unsafe { transform::inverse_finish::<$simd, N>(i) }
            }
        }
    };
}

compile!(portable, Portable; 1 by [1, 2]);
#[cfg(target_arch = "x86_64")]
compile!(avx2, Avx2, "avx2,fma"; 1 by [1, 2, 3, 4, 5, 6]);
#[cfg(target_arch = "x86_64")]
compile!(avx512, Avx512, "avx512f,avx2,fma"; 1 by [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14], 2 by [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
