//! Texts to the bits that stand for them.

/// Bytes of a gram: of five there would be too few that differ among hexadecimal digits.
const GRAM_BYTES: usize = 6;
/// log2 of the bits of a block.
pub(super) const BITS_LOG2: u32 = 17;
/// Of eight grams so many are picked: fewer would leave too many blocks in which all bits of an id
/// are set by chance, more would make blocks larger than what they save.
const PICKED_OF_EIGHT: u64 = 3;

const MASK: u64 = (1 << (8 * GRAM_BYTES)) - 1;
/// Set in every byte: makes letters small, and tells apart what a search would.
const SMALL: u64 = 0x2020_2020_2020_2020;
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// The bits of texts, in a buffer that is kept.
#[derive(Debug, Default)]
pub(super) struct Picker {
    bits: Vec<u32>,
}

impl Picker {
    /// Returns the places of the bits that a text sets, some of them twice.
    pub(super) fn pick(&mut self, text: &[u8]) -> &[u32] {
        // Every gram is written, and the next over it unless it was picked: no branch to guess.
        if self.bits.len() <= text.len() {
            self.bits.resize(text.len() + 1, 0);
        }
        let out = &mut self.bits[..=text.len()];
        let mut n = 0;
        for eight in text.windows(8) {
            let gram = u64::from_le_bytes(eight.try_into().expect("eight bytes"));
            n += usize::from(put(gram, &mut out[n]));
        }
        // The last ones, behind which there are no eight bytes.
        for start in text.len().saturating_sub(7)..(text.len() + 1).saturating_sub(GRAM_BYTES) {
            let mut eight = [0; 8];
            eight[..GRAM_BYTES].copy_from_slice(&text[start..start + GRAM_BYTES]);
            n += usize::from(put(u64::from_le_bytes(eight), &mut out[n]));
        }
        &self.bits[..n]
    }
}

/// Writes a gram's bit; returns whether the gram is picked.
#[inline]
fn put(gram: u64, out: &mut u32) -> bool {
    let gram = (gram | SMALL) & MASK;
    let hash = (gram ^ (gram >> 31)).wrapping_mul(FACTOR);
    let place = (hash >> (61 - BITS_LOG2)) & ((1 << BITS_LOG2) - 1);
    *out = u32::try_from(place).expect("17 bits");
    hash >> 61 < PICKED_OF_EIGHT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(text: &str) -> Vec<u32> {
        let mut bits = Picker::default().pick(text.as_bytes()).to_vec();
        bits.sort_unstable();
        bits.dedup();
        bits
    }

    #[test]
    fn a_part_of_a_text_has_a_part_of_its_bits() {
        let text = r#"{"gen3log": "nginx", "request_id": "0d9f3c7ab1e24f6680aa11bb22cc33dd"}"#;
        let all = bits(text);
        assert!(all.len() > 15, "three in eight of {} grams: {}", text.len(), all.len());
        for from in 0..text.len() {
            for to in from..=text.len() {
                let part = bits(&text[from..to]);
                assert!(part.iter().all(|bit| all.contains(bit)), "{}", &text[from..to]);
            }
        }
    }

    #[test]
    fn case_does_not_matter_and_short_texts_have_no_bits() {
        assert_eq!(bits("ConnectionResetError by peer"), bits("connectionreseterror BY PEER"));
        assert!(bits("panic").is_empty());
        assert!(bits("").is_empty());
    }
}
