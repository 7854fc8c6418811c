//! Who may connect: everybody (trust), or users of a password file by SCRAM-SHA-256.

use super::decode;
use super::scram::{Exchange, ITERATIONS, METHOD, Secret};
use super::wire::{End, Incoming, Outgoing};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use pgwire::api::auth::sasl::scram::gen_salted_password;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::startup::Authentication;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
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
    users: HashMap<String, Secret>,
    /// From it comes what an unknown user is checked against, so that names cannot be told apart by trying.
    seed: [u8; 32],
    random: Arc<dyn Random>,
}

fn salted(password: &str, random: &dyn Random) -> Secret {
    let salt: [u8; 16] = bytes(random);
    Secret::new(salt, &gen_salted_password(password, &salt, ITERATIONS))
}

fn bytes<const N: usize>(random: &dyn Random) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&random.next().to_be_bytes()[..chunk.len()]));
    bytes
}

impl Passwords {
    /// Lines `user:password`; empty lines and lines that start with `#` are skipped.
    pub fn read(path: &Path, random: Arc<dyn Random>) -> std::result::Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("password file {}: {e}", path.display()))?;
        Self::parse(&text, random)
            .map_err(|line| format!("password file {}: line {line} is not user:password", path.display()))
    }

    /// The error is the number of the first bad line.
    fn parse(text: &str, random: Arc<dyn Random>) -> std::result::Result<Self, usize> {
        let mut users = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            match line.split_once(':') {
                Some((user, password)) if !user.is_empty() && !password.is_empty() => {
                    users.insert(user.to_string(), salted(password, &*random));
                }
                _ => return Err(number + 1),
            }
        }
        Ok(Self { users, seed: bytes(&*random), random })
    }

    pub fn names(&self) -> Vec<String> {
        self.users.keys().cloned().collect()
    }

    fn expected(&self, user: &str) -> Secret {
        self.users.get(user).cloned().unwrap_or_else(|| Secret::of_nobody(user, &self.seed))
    }
}

impl Auth {
    /// Asks the client for its proof, if one is needed.
    pub async fn check(&self, user: &str, incoming: &mut Incoming, outgoing: &mut Outgoing) -> Result<()> {
        let Auth::Passwords(passwords) = self else { return Ok(()) };
        let failed = || Error::new("28P01", format!("password authentication failed for user \"{user}\""));
        ask(outgoing, Authentication::SASL(vec![METHOD.into()])).await?;
        let (method, data) = decode::sasl(answer(incoming).await?)?;
        if method != METHOD {
            return Err(Error::new("08P01", "client selected an invalid SASL authentication mechanism"));
        }
        let secret = passwords.expected(user);
        let nonce = STANDARD.encode(bytes::<18>(&*passwords.random));
        let exchange = Exchange::begin(&data, &secret, &nonce)?;
        ask(outgoing, Authentication::SASLContinue(exchange.challenge().to_string().into())).await?;
        let proof = exchange.end(&answer(incoming).await?, &secret)?.ok_or_else(failed)?;
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

    fn parse(text: &str) -> std::result::Result<Passwords, usize> {
        Passwords::parse(text, Arc::new(SystemRandom))
    }

    #[test]
    fn a_password_file_has_one_user_a_line_and_passwords_may_hold_colons() {
        let passwords = parse("# people\nann:a:b\n\nbob:secret\n").expect("good file");
        let mut names = passwords.names();
        names.sort();
        assert_eq!(names, ["ann", "bob"]);
    }

    #[test]
    fn a_line_without_a_password_is_named() {
        assert_eq!(parse("ann:x\nbob\n").err(), Some(2));
        assert_eq!(parse("ann:\n").err(), Some(1));
    }
}
