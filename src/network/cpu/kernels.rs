//! The engine's kernels, compiled for each set of instructions, and the choice among them at run time.

use super::dispatch::compile;
use super::gemm::{RegisterTile, micro};
use super::rows::{self, Finish, HeadRow, InputFinish, InputPoints, InputRow};
use super::simd::Simd;
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
    pub(crate) fn best() -> Instructions {
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
    pub micro: &'static [&'static [unsafe fn(&RegisterTile)]],
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
    pub(crate) fn of(instructions: Instructions) -> Result<&'static Kernels> {
        if !instructions.available() {
            return Err(Error::Device(format!("this processor has no {instructions} instructions")));
        }
        Ok(compiled(instructions))
    }
}

/// The matrix products of a set of vectors, for each number of blocks those for each number of rows.
macro_rules! products {
    (Portable) => { products!(1 by [1, 2]) };
    (Avx2) => { products!(1 by [1, 2, 3, 4, 5, 6]) };
    (Avx512) => {
        products!(1 by [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14], 2 by [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14])
    };
    ($($blocks:literal by [$($rows:literal),+]),+) => { [$(&[$(product::<$rows, $blocks>),+]),+] };
}

macro_rules! table {
    ($simd:ident) => {{
        const PRODUCTS: &[&[unsafe fn(&RegisterTile)]] = &products!($simd);
        Kernels {
            panel: PRODUCTS.len(),
            rows: $simd::ROWS,
            micro: PRODUCTS,
            finish,
            input_row,
            input_points,
            input_finish,
            head_row,
            weights,
            forward: [forward::<1>, forward::<6>, forward::<8>],
            inverse: [inverse::<1>, inverse::<6>, inverse::<8>],
            inverse_finish: [inverse_finish::<1>, inverse_finish::<6>, inverse_finish::<8>],
        }
    }};
}

compile! {
    table;
    product[R, B] = micro(RegisterTile);
    finish = rows::finish(Finish);
    input_row = rows::input_row(InputRow);
    input_points = rows::input_points(InputPoints);
    input_finish = rows::input_finish(InputFinish);
    head_row = rows::head_row(HeadRow);
    weights = transform::weights(WeightLines);
    forward[N] = transform::forward(Lines);
    inverse[N] = transform::inverse(Lines);
    inverse_finish[N] = transform::inverse_finish(Inverse);
}
