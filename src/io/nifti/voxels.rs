//! Voxel types: their codes, and their bytes to and from numbers.

use super::error::NiftiError;
use super::header::ByteOrder;

/// A type of voxels that ichor reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataType {
    /// Unsigned integers of 8 bits.
    U8,
    /// Signed integers of 8 bits.
    I8,
    /// Unsigned integers of 16 bits.
    U16,
    /// Signed integers of 16 bits.
    I16,
    /// Unsigned integers of 32 bits.
    U32,
    /// Signed integers of 32 bits.
    I32,
    /// Unsigned integers of 64 bits.
    U64,
    /// Signed integers of 64 bits.
    I64,
    /// Floating-point numbers of 32 bits.
    F32,
    /// Floating-point numbers of 64 bits.
    F64,
}

impl DataType {
    pub(super) fn from_code(code: i32) -> Result<Self, NiftiError> {
        let name = match code {
            2 => return Ok(DataType::U8),
            4 => return Ok(DataType::I16),
            8 => return Ok(DataType::I32),
            16 => return Ok(DataType::F32),
            64 => return Ok(DataType::F64),
            256 => return Ok(DataType::I8),
            512 => return Ok(DataType::U16),
            768 => return Ok(DataType::U32),
            1024 => return Ok(DataType::I64),
            1280 => return Ok(DataType::U64),
            1 => "single bits",
            32 | 1792 | 2048 => "complex numbers",
            128 | 2304 => "colours",
            1536 => "floats of 128 bits",
            _ => "of a type that NIfTI does not have",
        };
        Err(NiftiError::DataType { code, name })
    }

    /// The `datatype` of a header.
    pub(super) fn code(self) -> i32 {
        match self {
            DataType::U8 => 2,
            DataType::I16 => 4,
            DataType::I32 => 8,
            DataType::F32 => 16,
            DataType::F64 => 64,
            DataType::I8 => 256,
            DataType::U16 => 512,
            DataType::U32 => 768,
            DataType::I64 => 1024,
            DataType::U64 => 1280,
        }
    }

    /// Bytes of a voxel.
    pub(super) fn size(self) -> usize {
        match self {
            DataType::U8 | DataType::I8 => 1,
            DataType::U16 | DataType::I16 => 2,
            DataType::U32 | DataType::I32 | DataType::F32 => 4,
            DataType::U64 | DataType::I64 | DataType::F64 => 8,
        }
    }

    /// Appends the values of whole voxels to `values`: slope times voxel plus intercept, in double precision, rounded to single once.
    /// `bytes` are turned into little-endian order on the way.
    pub(super) fn decode(self, bytes: &mut [u8], order: ByteOrder, scaling: Option<(f64, f64)>, values: &mut Vec<f32>) {
        if order == ByteOrder::Big {
            bytes.chunks_exact_mut(self.size()).for_each(<[u8]>::reverse);
        }
        match self {
            DataType::U8 => decode(bytes, |b| u8::from_le_bytes(b).into(), scaling, values),
            DataType::I8 => decode(bytes, |b| i8::from_le_bytes(b).into(), scaling, values),
            DataType::U16 => decode(bytes, |b| u16::from_le_bytes(b).into(), scaling, values),
            DataType::I16 => decode(bytes, |b| i16::from_le_bytes(b).into(), scaling, values),
            DataType::U32 => decode(bytes, |b| u32::from_le_bytes(b).into(), scaling, values),
            DataType::I32 => decode(bytes, |b| i32::from_le_bytes(b).into(), scaling, values),
            DataType::U64 => decode(bytes, |b| u64::from_le_bytes(b) as f64, scaling, values),
            DataType::I64 => decode(bytes, |b| i64::from_le_bytes(b) as f64, scaling, values),
            DataType::F32 => decode(bytes, |b| f32::from_le_bytes(b).into(), scaling, values),
            DataType::F64 => decode(bytes, f64::from_le_bytes, scaling, values),
        }
    }
}

fn decode<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f64, scaling: Option<(f64, f64)>, values: &mut Vec<f32>) {
    let voxels = bytes.as_chunks::<N>().0.iter();
    match scaling {
        None => values.extend(voxels.map(|&voxel| value(voxel) as f32)),
        Some((slope, inter)) => values.extend(voxels.map(|&voxel| (value(voxel) * slope + inter) as f32)),
    }
}

/// A number that can be a voxel of a NIfTI file.
pub trait Voxel: Copy + sealed::Bytes {
    /// The type in the file.
    const DATA_TYPE: DataType;
}

pub(super) mod sealed {
    use super::ByteOrder;

    pub trait Bytes {
        /// Appends the bytes of `voxels` to `out`.
        #[expect(private_interfaces, reason = "nobody outside can call this")]
        fn append(voxels: &[Self], order: ByteOrder, out: &mut Vec<u8>)
        where
            Self: Sized;

        /// The value as a double, rounded where it has to be.
        fn to_f64(self) -> f64;
    }
}

macro_rules! voxel {
    ($($number:ty => $data_type:ident),*) => {$(
        impl Voxel for $number {
            const DATA_TYPE: DataType = DataType::$data_type;
        }

        impl sealed::Bytes for $number {
            #[expect(private_interfaces, reason = "nobody outside can call this")]
            fn append(voxels: &[Self], order: ByteOrder, out: &mut Vec<u8>) {
                voxels.iter().for_each(|voxel| out.extend(order.apply(voxel.to_le_bytes())));
            }

            fn to_f64(self) -> f64 {
                self as f64
            }
        }
    )*};
}

voxel!(u8 => U8, i8 => I8, u16 => U16, i16 => I16, u32 => U32, i32 => I32, u64 => U64, i64 => I64, f32 => F32, f64 => F64);
