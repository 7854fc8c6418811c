//! Secrets in the catalog: sealed with the key of `--secret-key-file`, or, without one, only encoded (with a warning at start).

use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::path::Path;
use weir_sql::{Error, Result};
use weir_storage::Env;

/// Seals and opens secrets. `Debug` shows nothing of the key.
#[derive(Clone)]
pub struct Keeper {
    key: Option<[u8; 32]>,
}

impl Keeper {
    /// The key is the SHA-256 of the file's bytes, whatever they are.
    pub fn open(file: Option<&Path>) -> Result<Self> {
        let Some(path) = file else { return Ok(Self { key: None }) };
        let bytes = std::fs::read(path)
            .map_err(|e| Error::new("58P01", format!("secret key file \"{}\" cannot be read: {e}", path.display())))?;
        if bytes.iter().filter(|b| !b.is_ascii_whitespace()).count() < 16 {
            return Err(Error::new(
                "22023",
                format!("secret key file \"{}\" holds fewer than 16 bytes", path.display()),
            ));
        }
        Ok(Self { key: Some(Sha256::digest(&bytes).into()) })
    }

    pub fn is_sealing(&self) -> bool {
        self.key.is_some()
    }

    pub fn seal(&self, env: &Env, secret: &str) -> String {
        let Some(key) = &self.key else { return format!("plain:{}", STANDARD.encode(secret)) };
        let mut nonce = [0u8; 12];
        nonce[..8].copy_from_slice(&env.random.next().to_le_bytes());
        nonce[8..].copy_from_slice(&env.random.next().to_le_bytes()[..4]);
        let cipher = Aes256Gcm::new(key.into());
        let sealed = cipher.encrypt(Nonce::from_slice(&nonce), secret.as_bytes()).expect("memory can be encrypted");
        format!("aes256gcm:{}", STANDARD.encode([&nonce[..], &sealed].concat()))
    }

    pub fn open_secret(&self, sealed: &str) -> Result<String> {
        let broken = || Error::new("58000", "a stored secret is damaged");
        if let Some(encoded) = sealed.strip_prefix("plain:") {
            let bytes = STANDARD.decode(encoded).map_err(|_| broken())?;
            return String::from_utf8(bytes).map_err(|_| broken());
        }
        let encoded = sealed.strip_prefix("aes256gcm:").ok_or_else(broken)?;
        let key = self.key.as_ref().ok_or_else(|| {
            Error::new("58000", "stored secrets are encrypted")
                .hint("Start with the --secret-key-file they were made with.")
        })?;
        let bytes = STANDARD.decode(encoded).ok().filter(|b| b.len() > 12).ok_or_else(broken)?;
        let cipher = Aes256Gcm::new(key.into());
        let opened = cipher.decrypt(Nonce::from_slice(&bytes[..12]), &bytes[12..]).map_err(|_| {
            Error::new("58000", "stored secrets do not open with this key")
                .hint("Use the --secret-key-file they were made with.")
        })?;
        String::from_utf8(opened).map_err(|_| broken())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> Env {
        let objects = weir_storage::store::open("memory://").unwrap();
        Env::real(objects)
    }

    #[test]
    fn a_sealed_secret_opens_only_with_its_key() {
        let (one, two, none) = (Keeper { key: Some([1; 32]) }, Keeper { key: Some([2; 32]) }, Keeper { key: None });
        let sealed = one.seal(&env(), "hunter2");
        assert!(!sealed.contains("hunter2"));
        assert_eq!(one.open_secret(&sealed).unwrap(), "hunter2");
        assert!(two.open_secret(&sealed).is_err());
        assert!(none.open_secret(&sealed).is_err());
        assert_eq!(none.open_secret(&none.seal(&env(), "hunter2")).unwrap(), "hunter2");
    }

    #[test]
    fn a_damaged_secret_is_an_error_not_a_panic() {
        let keeper = Keeper { key: Some([1; 32]) };
        for sealed in ["", "plain:%%", "aes256gcm:", "aes256gcm:AAAA", "aes256gcm:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert!(keeper.open_secret(sealed).is_err(), "{sealed}");
        }
    }
}
