//! SCRAM-SHA-256 (RFC 5802, RFC 7677) as its server: messages in, messages out, to the letter. There is no encryption, so there is
//! nothing that a channel could be bound to.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use weir_sql::{Error, Result};

pub const METHOD: &str = "SCRAM-SHA-256";
/// As Postgres has it.
pub const ITERATIONS: usize = 4096;
const BLOCK: usize = 64;

type Key = [u8; 32];

/// What a password is checked against; the password does not come out of it.
#[derive(Clone)]
pub struct Secret {
    salt: [u8; 16],
    stored: Key,
    server: Key,
}

impl Secret {
    /// `salted`: the password, salted so often with `salt`.
    pub fn new(salt: [u8; 16], salted: &[u8]) -> Self {
        Self { salt, stored: hash(&[&mac(salted, &[b"Client Key"])]), server: mac(salted, &[b"Server Key"]) }
    }

    /// What an unknown user is checked against: a salt that is always the same for a name, and no password fits.
    pub fn of_nobody(name: &str, seed: &Key) -> Self {
        let derived = mac(seed, &[b"salt", name.as_bytes()]);
        let salt = derived[..16].try_into().expect("sixteen of thirty-two bytes");
        Self {
            salt,
            stored: mac(seed, &[b"stored", name.as_bytes()]),
            server: mac(seed, &[b"server", name.as_bytes()]),
        }
    }
}

/// After the client's first message.
pub struct Exchange {
    /// What the client said of channel binding.
    header: String,
    bare: String,
    nonce: String,
    challenge: String,
}

impl Exchange {
    /// Takes the client's first message. `nonce`: the server's share.
    pub fn begin(message: &[u8], secret: &Secret, nonce: &str) -> Result<Self> {
        let message = text(message)?;
        match message.chars().next() {
            Some('n' | 'y') => {}
            Some('p') => {
                return Err(malformed(
                    "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes channel binding data.",
                ));
            }
            _ => return Err(malformed("Unexpected channel-binding flag.")),
        }
        let rest = message[1..].strip_prefix(',').ok_or_else(|| malformed("Comma expected."))?;
        let bare = match rest.strip_prefix(',') {
            Some(bare) => bare,
            None if rest.starts_with("a=") => {
                return Err(Error::unsupported("an authorization identity of the client"));
            }
            None => return Err(malformed("Unexpected attribute in client-first-message.")),
        };
        if bare.starts_with("m=") {
            return Err(Error::unsupported("an extension of SCRAM that the client requires"));
        }
        let mut attributes = bare.split(',');
        // The name is that of the start-up message, as in Postgres.
        attribute(attributes.next(), 'n')?;
        let theirs = attribute(attributes.next(), 'r')?;
        if theirs.is_empty() || !theirs.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(malformed("Non-printable characters in SCRAM nonce."));
        }
        attributes.try_for_each(extension)?;
        let nonce = format!("{theirs}{nonce}");
        let challenge = format!("r={nonce},s={},i={ITERATIONS}", STANDARD.encode(secret.salt));
        let header = message[..message.len() - bare.len()].to_string();
        Ok(Self { header, bare: bare.to_string(), nonce, challenge })
    }

    /// The server's first message.
    pub fn challenge(&self) -> &str {
        &self.challenge
    }

    /// Takes the client's last message; the server's, or `None` if the password is another.
    pub fn end(&self, message: &[u8], secret: &Secret) -> Result<Option<String>> {
        let message = text(message)?;
        let (unproven, proof) = message.rsplit_once(",p=").ok_or_else(|| malformed("Attribute \"p\" expected."))?;
        let mut attributes = unproven.split(',');
        if attribute(attributes.next(), 'c')? != STANDARD.encode(&self.header) {
            return Err(Error::new("08P01", "unexpected SCRAM channel-binding attribute in client-final-message"));
        }
        if attribute(attributes.next(), 'r')? != self.nonce {
            return Err(Error::new("08P01", "invalid SCRAM response").detail("Nonce does not match."));
        }
        attributes.try_for_each(extension)?;
        let proof = STANDARD.decode(proof).ok().and_then(|proof| Key::try_from(proof).ok());
        let proof = proof.ok_or_else(|| malformed("Malformed proof in client-final-message."))?;
        let said = [self.bare.as_bytes(), b",", self.challenge.as_bytes(), b",", unproven.as_bytes()];
        let signature = mac(&secret.stored, &said);
        let key: Key = std::array::from_fn(|at| proof[at] ^ signature[at]);
        // Without a word about where they begin to differ.
        let differ = hash(&[&key]).iter().zip(&secret.stored).fold(0, |all, (a, b)| all | (a ^ b));
        Ok((differ == 0).then(|| format!("v={}", STANDARD.encode(mac(&secret.server, &said)))))
    }
}

fn text(message: &[u8]) -> Result<&str> {
    std::str::from_utf8(message).map_err(|_| malformed("It is not UTF-8."))
}

fn attribute(given: Option<&str>, name: char) -> Result<&str> {
    let value = given.and_then(|given| given.strip_prefix(name)?.strip_prefix('='));
    value.ok_or_else(|| malformed(&format!("Attribute \"{name}\" expected.")))
}

/// Extensions that nobody requires are let be.
fn extension(given: &str) -> Result<()> {
    let mut characters = given.chars();
    match (characters.next(), characters.next()) {
        (Some(name), Some('=')) if name.is_ascii_alphabetic() => Ok(()),
        _ => Err(malformed("Attribute expected.")),
    }
}

fn malformed(detail: &str) -> Error {
    Error::new("08P01", "malformed SCRAM message").detail(detail)
}

fn hash(parts: &[&[u8]]) -> Key {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

/// HMAC (RFC 2104) of `parts`, one after the other.
fn mac(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut block = [0; BLOCK];
    match key.len() {
        ..=BLOCK => block[..key.len()].copy_from_slice(key),
        _ => block[..32].copy_from_slice(&hash(&[key])),
    }
    let (inner, outer) = (block.map(|byte| byte ^ 0x36), block.map(|byte| byte ^ 0x5c));
    let said: Vec<&[u8]> = std::iter::once(&inner[..]).chain(parts.iter().copied()).collect();
    hash(&[&outer, &hash(&said)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgwire::api::auth::sasl::scram::gen_salted_password;

    // RFC 7677, section 3.
    const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const OURS: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const LAST: &str =
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    fn secret() -> Secret {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        Secret::new(salt.clone().try_into().expect("16 bytes"), &gen_salted_password("pencil", &salt, ITERATIONS))
    }

    fn end(last: &str) -> Result<Option<String>> {
        Exchange::begin(FIRST.as_bytes(), &secret(), OURS)?.end(last.as_bytes(), &secret())
    }

    #[test]
    fn the_example_of_the_standard_is_understood() {
        let exchange = Exchange::begin(FIRST.as_bytes(), &secret(), OURS).expect("sound");
        let challenge = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        assert_eq!(exchange.challenge(), challenge);
        assert_eq!(end(LAST).expect("sound").as_deref(), Some("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
    }

    #[test]
    fn another_password_nonce_or_flag_is_refused() {
        let other = LAST.replace("dHzb", "dHzc");
        assert_eq!(end(&other).expect("sound"), None);
        let code = |last: &str| end(last).expect_err("not to the letter").sqlstate;
        assert_eq!(code(&LAST.replace("$k0,p", "$k1,p")), "08P01");
        assert_eq!(
            code(&LAST.replace("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", "r=rOprNGfwEbeRWgbNEkqO")),
            "08P01"
        );
        // Says `y` when it had said `n`.
        assert_eq!(code(&LAST.replace("biws", "eSws")), "08P01");
        assert_eq!(code(&LAST.replace(",p=dHzb", ",p=!!!!")), "08P01");
        assert_eq!(code("c=biws"), "08P01");
        let exchange = Exchange::begin(FIRST.replacen('n', "y", 1).as_bytes(), &secret(), OURS).expect("sound");
        assert!(exchange.end(LAST.as_bytes(), &secret()).is_err(), "the flag of the first message counts");
    }

    #[test]
    fn a_first_message_is_read_to_the_letter() {
        for (first, code) in [
            ("p=tls-server-end-point,,n=user,r=abc", "08P01"),
            ("n,a=bob,n=user,r=abc", "0A000"),
            ("n,,m=x,n=user,r=abc", "0A000"),
            ("n,,r=abc", "08P01"),
            ("n,,n=user,r=", "08P01"),
            ("n,,n=user,r=a b", "08P01"),
            ("n,,n=user,r=abc,=", "08P01"),
            ("x,,n=user,r=abc", "08P01"),
            ("n", "08P01"),
            ("é,,n=user,r=abc", "08P01"),
            ("", "08P01"),
        ] {
            let refused = Exchange::begin(first.as_bytes(), &secret(), OURS).err().expect(first);
            assert_eq!(refused.sqlstate, code, "{first}");
        }
    }

    #[test]
    fn an_unknown_user_has_a_salt_of_its_own_which_stays() {
        let (seed, other) = ([1; 32], [2; 32]);
        let salt = |name: &str, seed: &Key| Secret::of_nobody(name, seed).salt;
        assert_eq!(salt("bob", &seed), salt("bob", &seed));
        assert_ne!(salt("bob", &seed), salt("ann", &seed));
        assert_ne!(salt("bob", &seed), salt("bob", &other));
    }
}
