//! Signatures of webhooks: HMAC-SHA256 (RFC 2104) over the time and the body, so that a receiver knows
//! who wrote them and that they are not an old one sent again.

use sha2::{Digest, Sha256};

use super::secret::SecretText;

const BLOCK_BYTES: usize = 64;

/// Signs bodies with a secret that the receiver knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer(SecretText);

impl Signer {
    /// Returns a signer; the secret is what the file holds, without white space around it.
    pub fn new(secret: &str) -> Self {
        Self(SecretText::new(secret.trim()))
    }

    /// Returns the header's value for a body sent at a time, seconds since 1970 UTC.
    pub(super) fn header(&self, now_s: i64, body: &[u8]) -> String {
        let mut signed = format!("{now_s}.").into_bytes();
        signed.extend_from_slice(body);
        format!("t={now_s},v1={}", hex(&hmac_sha256(self.0.reveal().as_bytes(), &signed)))
    }
}

fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; BLOCK_BYTES];
    if key.len() > BLOCK_BYTES {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let pad = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

/// Returns the SHA-256 of a text in hexadecimal.
pub(super) fn sha256_hex(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test cases 2 and 6 of RFC 4231.
    #[test]
    fn the_code_is_that_of_the_rfc() {
        let short = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
        let long =
            hmac_sha256(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First");

        assert_eq!(hex(&short), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert_eq!(hex(&long), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    }

    #[test]
    fn a_header_has_time_and_code_and_no_secret() {
        let signer = Signer::new("key\n");

        let header = signer.header(12, b"{}");

        assert!(header.starts_with("t=12,v1=") && header.len() == 8 + 64, "{header}");
        assert_ne!(header, signer.header(13, b"{}"));
        assert!(!format!("{signer:?}").contains("key"));
    }
}
