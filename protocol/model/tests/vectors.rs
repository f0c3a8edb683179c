//! The formats, byte for byte, against vectors of an independent implementation
//! (`docs/spec/vectors/make.py`).

#[cfg(test)]
mod vectors {
    mod crypto;
    mod formats;
    mod journal;
    mod tree;

    use data_encoding::HEXLOWER;
    use model::crypto::Secret;
    use serde_json::Value;

    /// The text of a field.
    fn text<'a>(vector: &'a Value, field: &str) -> &'a str {
        vector[field]
            .as_str()
            .unwrap_or_else(|| panic!("`{field}` is no text"))
    }

    fn number(vector: &Value, field: &str) -> u64 {
        vector[field]
            .as_u64()
            .unwrap_or_else(|| panic!("`{field}` is no number"))
    }

    fn list<'a>(vector: &'a Value, field: &str) -> &'a [Value] {
        vector[field]
            .as_array()
            .unwrap_or_else(|| panic!("`{field}` is no list"))
    }

    fn bytes(vector: &Value, field: &str) -> Vec<u8> {
        unhex(text(vector, field))
    }

    fn unhex(text: &str) -> Vec<u8> {
        HEXLOWER.decode(text.as_bytes()).expect("hexadecimal")
    }

    fn array<const N: usize>(vector: &Value, field: &str) -> [u8; N] {
        bytes(vector, field).try_into().expect("the field's width")
    }

    fn secret(vector: &Value, field: &str) -> Secret {
        Secret::new(array(vector, field))
    }

    /// The bytes that the script's `pattern` makes.
    fn pattern(length: usize) -> Vec<u8> {
        (0..=250_u8)
            .map(|i| u8::try_from(u32::from(i) * 31 % 251).unwrap())
            .cycle()
            .take(length)
            .collect()
    }
}
