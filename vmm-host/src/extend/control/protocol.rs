// SPDX-License-Identifier: MIT OR Apache-2.0
//! Requests and answers: a line of JSON each.

use crate::extend::{HandlerSource, SourceSyntaxError};
use hcall_abi::{HypercallNumber, NumberError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of the protocol, which every request and every answer carries.
pub const VERSION: u32 = 1;

/// The longest line of a request, in bytes.
pub const REQUEST_LIMIT: usize = 16 * 1024;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Which numbers have handlers, and from where.
    List,
    /// A handler for a number that has none; without a number, all that a plugin has.
    Add {
        /// The number.
        number: Option<HypercallNumber>,
        /// Where its handler comes from.
        source: HandlerSource,
    },
    /// Another handler for a number that has one.
    Replace {
        /// The number.
        number: HypercallNumber,
        /// Where its handler comes from.
        source: HandlerSource,
    },
    /// No handler any more.
    Remove {
        /// The number.
        number: HypercallNumber,
    },
    /// Counters, and what is recorded of each number.
    Stats,
    /// The same for Prometheus.
    Metrics,
    /// No vCPU runs.
    Pause,
    /// They run again.
    Resume,
    /// The VM ends.
    Stop,
}

/// A request as it stands in its line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    version: u32,
    command: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    number: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
}

/// Why a line is no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Not JSON, or of another shape.
    #[error("not a request: {0}")]
    Syntax(String),
    /// Of another version.
    #[error("version {0} of the protocol is not spoken here, only {VERSION}")]
    Version(u32),
    /// No such command.
    #[error(
        "no command '{0}': there are list, add, replace, remove, stats, metrics, pause, resume \
         and stop"
    )]
    Command(String),
    /// A field that the command needs.
    #[error("'{command}' needs the field '{field}'")]
    Missing {
        /// The command.
        command: &'static str,
        /// What it needs.
        field: &'static str,
    },
    /// A field that the command does not have.
    #[error("'{command}' has no field '{field}'")]
    Needless {
        /// The command.
        command: &'static str,
        /// What it does not have.
        field: &'static str,
    },
    /// See [`NumberError`].
    #[error(transparent)]
    Number(#[from] NumberError),
    /// See [`SourceSyntaxError`].
    #[error(transparent)]
    Source(#[from] SourceSyntaxError),
}

impl Command {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Add { .. } => "add",
            Self::Replace { .. } => "replace",
            Self::Remove { .. } => "remove",
            Self::Stats => "stats",
            Self::Metrics => "metrics",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Stop => "stop",
        }
    }

    /// The source that it names, whose descriptor goes with it.
    pub fn source(&self) -> Option<&HandlerSource> {
        match self {
            Self::Add { source, .. } | Self::Replace { source, .. } => Some(source),
            _ => None,
        }
    }

    /// The line that asks for it.
    pub fn to_line(&self) -> String {
        let number = match self {
            Self::Add { number, .. } => *number,
            Self::Replace { number, .. } | Self::Remove { number } => Some(*number),
            _ => None,
        };
        let request = Request {
            version: VERSION,
            command: self.name().into(),
            number: number.map(HypercallNumber::get),
            source: self.source().map(ToString::to_string),
        };
        line(&request)
    }

    /// What a line asks for.
    ///
    /// # Errors
    ///
    /// [`RequestError`]
    pub fn from_line(line: &[u8]) -> Result<Self, RequestError> {
        let request: Request = serde_json::from_slice(line)
            .map_err(|error| RequestError::Syntax(error.to_string()))?;
        if request.version != VERSION {
            return Err(RequestError::Version(request.version));
        }
        let mut fields = Fields {
            command: "",
            number: request.number,
            source: request.source,
        };
        let command = match request.command.as_str() {
            "list" => fields.of("list", |_| Ok(Self::List)),
            "add" => fields.of("add", Self::add),
            "replace" => fields.of("replace", |fields| {
                Ok(Self::Replace {
                    number: fields.number()?,
                    source: fields.source()?,
                })
            }),
            "remove" => fields.of("remove", |fields| {
                Ok(Self::Remove {
                    number: fields.number()?,
                })
            }),
            "stats" => fields.of("stats", |_| Ok(Self::Stats)),
            "metrics" => fields.of("metrics", |_| Ok(Self::Metrics)),
            "pause" => fields.of("pause", |_| Ok(Self::Pause)),
            "resume" => fields.of("resume", |_| Ok(Self::Resume)),
            "stop" => fields.of("stop", |_| Ok(Self::Stop)),
            _ => return Err(RequestError::Command(request.command)),
        };
        command
    }

    fn add(fields: &mut Fields) -> Result<Self, RequestError> {
        let source = fields.source()?;
        let number = match (fields.number, &source) {
            (None, HandlerSource::Plugin(_)) => None,
            _ => Some(fields.number()?),
        };
        Ok(Self::Add { number, source })
    }
}

/// The fields of a request that its command has not taken yet.
struct Fields {
    command: &'static str,
    number: Option<u32>,
    source: Option<String>,
}

impl Fields {
    /// What `take` makes of the fields, which must need all that are there.
    fn of(
        &mut self,
        command: &'static str,
        take: impl FnOnce(&mut Self) -> Result<Command, RequestError>,
    ) -> Result<Command, RequestError> {
        self.command = command;
        let taken = take(self)?;
        let left = self.number.map(|_| "number");
        match left.or(self.source.as_ref().map(|_| "source")) {
            Some(field) => Err(RequestError::Needless { command, field }),
            None => Ok(taken),
        }
    }

    fn number(&mut self) -> Result<HypercallNumber, RequestError> {
        let number = self.number.take().ok_or(self.missing("number"))?;
        Ok(HypercallNumber::new(number)?)
    }

    fn source(&mut self) -> Result<HandlerSource, RequestError> {
        let missing = self.missing("source");
        Ok(self.source.take().ok_or(missing)?.parse()?)
    }

    fn missing(&self, field: &'static str) -> RequestError {
        RequestError::Missing {
            command: self.command,
            field,
        }
    }
}

/// Why a request was refused: a word for programs, and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The word; `docs/control.md` lists them.
    pub code: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(code: &str, message: impl ToString) -> Self {
        Self {
            code: code.into(),
            message: message.to_string(),
        }
    }
}

/// A refusal as it stands in an answer.
#[derive(Debug, Serialize, Deserialize)]
struct RefusalFields {
    code: String,
    message: String,
}

impl From<Refusal> for RefusalFields {
    fn from(Refusal { code, message }: Refusal) -> Self {
        Self { code, message }
    }
}

impl From<RefusalFields> for Refusal {
    fn from(RefusalFields { code, message }: RefusalFields) -> Self {
        Self { code, message }
    }
}

/// An answer as it stands in its line; it has one of the two fields.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<RefusalFields>,
}

/// The line that answers so.
pub(super) fn answer_line(outcome: Result<Value, Refusal>) -> String {
    let (result, error) = match outcome {
        Ok(result) => (Some(result), None),
        Err(refusal) => (None, Some(refusal.into())),
    };
    line(&Answer {
        version: VERSION,
        result,
        error,
    })
}

/// What a line answers; `None` if it is no answer of this version.
pub(super) fn parse_answer(line: &[u8]) -> Option<Result<Value, Refusal>> {
    let answer: Answer = serde_json::from_slice(line).ok()?;
    if answer.version != VERSION {
        return None;
    }
    match (answer.result, answer.error) {
        (Some(result), None) => Some(Ok(result)),
        (None, Some(refusal)) => Some(Err(refusal.into())),
        _ => None,
    }
}

fn line(message: &impl Serialize) -> String {
    let mut line = serde_json::to_string(message).expect("all keys are strings");
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBER: HypercallNumber = HypercallNumber::user(1);

    #[test]
    fn requests_go_there_and_back() {
        let source = HandlerSource::Value(1);
        for command in [
            Command::List,
            Command::Add {
                number: Some(NUMBER),
                source: source.clone(),
            },
            Command::Add {
                number: None,
                source: HandlerSource::Plugin("/x.so".into()),
            },
            Command::Replace {
                number: NUMBER,
                source,
            },
            Command::Remove { number: NUMBER },
            Command::Stats,
            Command::Metrics,
            Command::Pause,
            Command::Resume,
            Command::Stop,
        ] {
            let line = command.to_line();
            assert_eq!(Command::from_line(line.as_bytes()), Ok(command), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_request_is_said() {
        for (line, part) in [
            ("", "EOF"),
            ("{}", "version"),
            ("[1]", "not a request"),
            (r#"{"version":2,"command":"list"}"#, "version 2"),
            (r#"{"version":1,"command":"dance"}"#, "'dance'"),
            (r#"{"version":1,"command":"list","colour":1}"#, "colour"),
            (
                r#"{"version":1,"command":"list","number":13}"#,
                "no field 'number'",
            ),
            (
                r#"{"version":1,"command":"stop","source":"x"}"#,
                "no field 'source'",
            ),
            (r#"{"version":1,"command":"add"}"#, "'source'"),
            (
                r#"{"version":1,"command":"add","source":"value:1"}"#,
                "'number'",
            ),
            (r#"{"version":1,"command":"remove"}"#, "'number'"),
            (r#"{"version":1,"command":"remove","number":12}"#, "KVM"),
            (
                r#"{"version":1,"command":"remove","number":4294967296}"#,
                "u32",
            ),
            (r#"{"version":1,"command":"remove","number":-1}"#, "u32"),
            (
                r#"{"version":1,"command":"replace","number":100,"source":"x"}"#,
                "unix:PATH",
            ),
        ] {
            let error = Command::from_line(line.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(part), "{line}: {error}");
        }
        let deep = "[".repeat(100_000);
        assert!(Command::from_line(deep.as_bytes()).is_err());
    }

    #[test]
    fn answers_go_there_and_back() {
        for outcome in [
            Ok(Value::from(1)),
            Err(Refusal::new("code", "a \"sentence\"\n")),
        ] {
            let line = answer_line(outcome.clone());
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            assert_eq!(parse_answer(line.as_bytes()), Some(outcome));
        }
        assert_eq!(parse_answer(br#"{"version":1}"#), None);
        assert_eq!(parse_answer(br#"{"version":2,"result":1}"#), None);
    }
}
