//! Every numeric header field of NIfTI-1 and NIfTI-2 by its place in the standard (`nifti1.h`, `nifti2.h`), independently of the library.

/// Type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    U8,
    I16,
    I32,
    I64,
    F32,
    F64,
}

/// One number of a header.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its name in the standard, with its index where it is one of several.
    pub name: String,
    pub kind: Kind,
    /// Its first byte.
    pub at: usize,
}

/// Version (1 or 2) and byte order.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    pub version: u8,
    pub big_endian: bool,
}

/// (name, type, first byte, numbers).
type Row = (&'static str, Kind, usize, usize);

const NIFTI_1: [Row; 31] = [
    ("sizeof_hdr", Kind::I32, 0, 1),
    ("dim", Kind::I16, 40, 8),
    ("intent_p", Kind::F32, 56, 3),
    ("intent_code", Kind::I16, 68, 1),
    ("datatype", Kind::I16, 70, 1),
    ("bitpix", Kind::I16, 72, 1),
    ("slice_start", Kind::I16, 74, 1),
    ("pixdim", Kind::F32, 76, 8),
    ("vox_offset", Kind::F32, 108, 1),
    ("scl_slope", Kind::F32, 112, 1),
    ("scl_inter", Kind::F32, 116, 1),
    ("slice_end", Kind::I16, 120, 1),
    ("slice_code", Kind::U8, 122, 1),
    ("xyzt_units", Kind::U8, 123, 1),
    ("cal_max", Kind::F32, 124, 1),
    ("cal_min", Kind::F32, 128, 1),
    ("slice_duration", Kind::F32, 132, 1),
    ("toffset", Kind::F32, 136, 1),
    ("glmax", Kind::I32, 140, 1),
    ("glmin", Kind::I32, 144, 1),
    ("qform_code", Kind::I16, 252, 1),
    ("sform_code", Kind::I16, 254, 1),
    ("quatern_b", Kind::F32, 256, 1),
    ("quatern_c", Kind::F32, 260, 1),
    ("quatern_d", Kind::F32, 264, 1),
    ("qoffset_x", Kind::F32, 268, 1),
    ("qoffset_y", Kind::F32, 272, 1),
    ("qoffset_z", Kind::F32, 276, 1),
    ("srow_x", Kind::F32, 280, 4),
    ("srow_y", Kind::F32, 296, 4),
    ("srow_z", Kind::F32, 312, 4),
];

const NIFTI_2: [Row; 29] = [
    ("sizeof_hdr", Kind::I32, 0, 1),
    ("datatype", Kind::I16, 12, 1),
    ("bitpix", Kind::I16, 14, 1),
    ("dim", Kind::I64, 16, 8),
    ("intent_p", Kind::F64, 80, 3),
    ("pixdim", Kind::F64, 104, 8),
    ("vox_offset", Kind::I64, 168, 1),
    ("scl_slope", Kind::F64, 176, 1),
    ("scl_inter", Kind::F64, 184, 1),
    ("cal_max", Kind::F64, 192, 1),
    ("cal_min", Kind::F64, 200, 1),
    ("slice_duration", Kind::F64, 208, 1),
    ("toffset", Kind::F64, 216, 1),
    ("slice_start", Kind::I64, 224, 1),
    ("slice_end", Kind::I64, 232, 1),
    ("qform_code", Kind::I32, 344, 1),
    ("sform_code", Kind::I32, 348, 1),
    ("quatern_b", Kind::F64, 352, 1),
    ("quatern_c", Kind::F64, 360, 1),
    ("quatern_d", Kind::F64, 368, 1),
    ("qoffset_x", Kind::F64, 376, 1),
    ("qoffset_y", Kind::F64, 384, 1),
    ("qoffset_z", Kind::F64, 392, 1),
    ("srow_x", Kind::F64, 400, 4),
    ("srow_y", Kind::F64, 432, 4),
    ("srow_z", Kind::F64, 464, 4),
    ("slice_code", Kind::I32, 496, 1),
    ("xyzt_units", Kind::I32, 500, 1),
    ("intent_code", Kind::I32, 504, 1),
];

impl Format {
    /// All numbers of a header.
    pub fn fields(self) -> Vec<Field> {
        let rows: &[Row] = if self.version == 1 { &NIFTI_1 } else { &NIFTI_2 };
        let mut fields = Vec::new();
        for &(name, kind, first, count) in rows {
            let size = match kind {
                Kind::U8 => 1,
                Kind::I16 => 2,
                Kind::I32 | Kind::F32 => 4,
                Kind::I64 | Kind::F64 => 8,
            };
            fields.extend((0..count).map(|n| Field {
                name: if count > 1 { format!("{name}[{n}]") } else { name.to_string() },
                kind,
                at: first + n * size,
            }));
        }
        fields
    }

    /// Sets a field; a value beyond its type's range becomes the nearest one in it, and NaN 0 in an integer.
    pub fn put(self, header: &mut [u8], Field { kind, at, .. }: Field, value: f64) {
        let mut bytes = match kind {
            Kind::U8 => vec![value as u8],
            Kind::I16 => (value as i16).to_le_bytes().to_vec(),
            Kind::I32 => (value as i32).to_le_bytes().to_vec(),
            Kind::I64 => (value as i64).to_le_bytes().to_vec(),
            Kind::F32 => (value as f32).to_le_bytes().to_vec(),
            Kind::F64 => value.to_le_bytes().to_vec(),
        };
        if self.big_endian {
            bytes.reverse();
        }
        header[at..at + bytes.len()].copy_from_slice(&bytes);
    }

    /// A file of 4 x 5 x 3 int16 voxels of 1 x 2 x 3 mm, by qform and sform alike: 20 HU more at each voxel, from -1024.
    pub fn valid(self) -> Vec<u8> {
        let size = if self.version == 1 { 348 } else { 540 };
        let mut bytes = vec![0; size + 4];
        let values = [
            ("sizeof_hdr", size as f64),
            ("dim[0]", 3.0),
            ("dim[1]", 4.0),
            ("dim[2]", 5.0),
            ("dim[3]", 3.0),
            ("dim[4]", 1.0),
            ("dim[5]", 1.0),
            ("dim[6]", 1.0),
            ("dim[7]", 1.0),
            ("datatype", 4.0),
            ("bitpix", 16.0),
            ("pixdim[0]", 1.0),
            ("pixdim[1]", 1.0),
            ("pixdim[2]", 2.0),
            ("pixdim[3]", 3.0),
            ("vox_offset", (size + 4) as f64),
            ("scl_slope", 20.0),
            ("scl_inter", -1024.0),
            ("xyzt_units", 2.0),
            ("qform_code", 1.0),
            ("sform_code", 1.0),
            ("qoffset_x", -2.0),
            ("qoffset_y", -4.0),
            ("qoffset_z", -3.0),
            ("srow_x[0]", 1.0),
            ("srow_x[3]", -2.0),
            ("srow_y[1]", 2.0),
            ("srow_y[3]", -4.0),
            ("srow_z[2]", 3.0),
            ("srow_z[3]", -3.0),
        ];
        for field in self.fields() {
            if let Some((_, value)) = values.iter().find(|(name, _)| field.name == *name) {
                self.put(&mut bytes, field, *value);
            }
        }
        let magic: (usize, &[u8]) = if self.version == 1 { (344, b"n+1\0") } else { (4, b"n+2\0\r\n\x1a\n") };
        bytes[magic.0..magic.0 + magic.1.len()].copy_from_slice(magic.1);
        let order = |bytes: [u8; 2]| if self.big_endian { [bytes[1], bytes[0]] } else { bytes };
        bytes.extend((0..60_i16).flat_map(|voxel| order(voxel.to_le_bytes())));
        bytes
    }
}
