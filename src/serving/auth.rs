//! Who may connect: everybody (trust), or users of a password file by SCRAM-SHA-256.

use super::decode;
use super::wire::{End, Incoming, Outgoing};
use bytes::Bytes;
use pgwire::api::auth::Password;
use pgwire::api::auth::sasl::SCRAM_SHA_256_METHOD;
use pgwire::api::auth::sasl::scram::{SCRAM_ITERATIONS, ScramServerAuth, gen_salted_password};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::startup::Authentication;
use std::collections::HashMap;
use std::path::Path;
use weir_sql::{Error, Result};
use weir_storage::env::Random;

#[derive(Clone)]
pub enum Auth {
    /// Whoever can reach the port.
    Trust,
    Passwords(Passwords),
}

/// Salted passwords by user; the passwords themselves are not kept.
#[derive(Clone)]
pub struct Passwords {
    users: HashMap<String, Salted>,
    /// What an unknown user is checked against, so that names cannot be told apart by trying.
    nobody: Salted,
}

#[derive(Clone)]
struct Salted {
    salt: [u8; 16],
    password: Vec<u8>,
}

impl Salted {
    fn new(password: &str, random: &dyn Random) -> Self {
        let salt = sixteen(random);
        Self { salt, password: gen_salted_password(password, &salt, SCRAM_ITERATIONS) }
    }
}

fn sixteen(random: &dyn Random) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&random.next().to_be_bytes());
    bytes[8..].copy_from_slice(&random.next().to_be_bytes());
    bytes
}

impl Passwords {
    /// Lines `user:password`; empty lines and lines that start with `#` are skipped.
    pub fn read(path: &Path, random: &dyn Random) -> std::result::Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("password file {}: {e}", path.display()))?;
        Self::parse(&text, random)
            .map_err(|line| format!("password file {}: line {line} is not user:password", path.display()))
    }

    /// The error is the number of the first bad line.
    fn parse(text: &str, random: &dyn Random) -> std::result::Result<Self, usize> {
        let mut users = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            match line.split_once(':') {
                Some((user, password)) if !user.is_empty() && !password.is_empty() => {
                    users.insert(user.to_string(), Salted::new(password, random));
                }
                _ => return Err(number + 1),
            }
        }
        let secret: String = sixteen(random).iter().map(|b| format!("{b:02x}")).collect();
        let nobody = Salted::new(&secret, random);
        Ok(Self { users, nobody })
    }

    pub fn names(&self) -> Vec<String> {
        self.users.keys().cloned().collect()
    }

    fn expected(&self, user: &str) -> Password {
        let salted = self.users.get(user).unwrap_or(&self.nobody);
        Password::new(Some(salted.salt.to_vec()), salted.password.clone())
    }
}

impl Auth {
    /// Asks the client for its proof, if one is needed.
    pub async fn check(&self, user: &str, incoming: &mut Incoming, outgoing: &mut Outgoing) -> Result<()> {
        let Auth::Passwords(passwords) = self else { return Ok(()) };
        let failed = || Error::new("28P01", format!("password authentication failed for user \"{user}\""));
        ask(outgoing, Authentication::SASL(vec![SCRAM_SHA_256_METHOD.into()])).await?;
        let (method, data) = decode::sasl(answer(incoming).await?)?;
        if method != SCRAM_SHA_256_METHOD {
            return Err(Error::new("28000", format!("authentication method {method} is not offered")));
        }
        let (challenge, waiting) =
            ScramServerAuth::new().on_client_first_message(&data, passwords.expected(user)).map_err(|_| failed())?;
        ask(outgoing, Authentication::SASLContinue(challenge.into())).await?;
        let last = answer(incoming).await?;
        let proof = waiting.on_client_final_message(&last).map_err(|_| failed())?;
        outgoing.send(PgWireBackendMessage::Authentication(Authentication::SASLFinal(proof.into())));
        Ok(())
    }
}

async fn ask(outgoing: &mut Outgoing, request: Authentication) -> Result<()> {
    outgoing.send(PgWireBackendMessage::Authentication(request));
    outgoing.flush().await.map_err(gone)
}

async fn answer(incoming: &mut Incoming) -> Result<Bytes> {
    match incoming.password().await {
        Ok(Some(body)) => Ok(body),
        Ok(None) => Err(gone("closed by the client")),
        Err(End::Gone(error)) => Err(gone(error)),
        Err(End::Lost(error)) => Err(error),
    }
}

fn gone(error: impl std::fmt::Display) -> Error {
    Error::new("08006", format!("connection lost during authentication: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_storage::env::SystemRandom;

    #[test]
    fn a_password_file_has_one_user_a_line_and_passwords_may_hold_colons() {
        let passwords = Passwords::parse("# people\nann:a:b\n\nbob:secret\n", &SystemRandom).expect("good file");
        let mut names = passwords.names();
        names.sort();
        assert_eq!(names, ["ann", "bob"]);
        let ann = &passwords.users["ann"];
        assert_eq!(ann.password, gen_salted_password("a:b", &ann.salt, SCRAM_ITERATIONS));
    }

    #[test]
    fn a_line_without_a_password_is_named() {
        assert_eq!(Passwords::parse("ann:x\nbob\n", &SystemRandom).err(), Some(2));
        assert_eq!(Passwords::parse("ann:\n", &SystemRandom).err(), Some(1));
    }
}
