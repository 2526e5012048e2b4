//! PostgreSQL's binary COPY format (documentation of COPY, section "Binary Format").

use super::super::rows::{Cell, Column, Table};

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Bytes to reserve for a row.
const ROW_BYTES: usize = 1_200;

/// Encodes rows, with header and trailer.
pub fn encode<T: Table>(columns: &[Column], rows: impl Iterator<Item = T>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(rows.size_hint().0 * ROW_BYTES);
    bytes.extend_from_slice(SIGNATURE);
    // No flags, no extension of the header.
    bytes.extend_from_slice(&[0; 8]);
    let count = i16::try_from(columns.len()).unwrap_or(i16::MAX);
    for row in rows {
        bytes.extend_from_slice(&count.to_be_bytes());
        for column in columns {
            match row.cell(column) {
                Cell::Null => bytes.extend_from_slice(&(-1_i32).to_be_bytes()),
                Cell::Text(text) => field(&mut bytes, text.as_bytes()),
                Cell::Integer(number) => field(&mut bytes, &number.to_be_bytes()),
                Cell::Bytes(value) => field(&mut bytes, value),
            }
        }
    }
    bytes.extend_from_slice(&(-1_i16).to_be_bytes());
    bytes
}

fn field(bytes: &mut Vec<u8>, value: &[u8]) {
    let length = i32::try_from(value.len()).unwrap_or(i32::MAX);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::{
        super::super::rows::{EmptyHead, Kind},
        *,
    };

    #[test]
    fn is_the_documented_format() {
        let column = |name: &str, kind| Column { name: name.into(), kind };
        let columns = [column("organization_id", Kind::Text), column("size", Kind::Integer)];
        let encoded = encode(&columns, [EmptyHead("ab")].into_iter());
        let header = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
        let row = b"\0\x02\0\0\0\x02ab\0\0\0\x08\0\0\0\0\0\0\0\0".to_vec();
        assert_eq!(encoded, [header, row, b"\xff\xff".to_vec()].concat());
    }
}
