//! A process as people name it: by number, or by the container that it is the first process of.

use rustix::process::Pid;

use crate::context::Context;
use crate::error::CliError;

/// What was typed where a process is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessName {
    /// Digits.
    Number(Pid),
    /// Anything else: the name or id of a container.
    Container(String),
}

impl std::str::FromStr for ProcessName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a process is named by its number".to_owned());
        }
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self::Container(text.to_owned()));
        }
        let number = text.parse().ok().and_then(Pid::from_raw);
        number.map(Self::Number).ok_or_else(|| "not a process number".to_owned())
    }
}

impl ProcessName {
    /// The process that is meant. A number is taken as it is: what becomes of it shows when it is used.
    pub fn find(&self, context: &Context) -> Result<Pid, CliError> {
        match self {
            Self::Number(pid) => Ok(*pid),
            Self::Container(name) => super::containers::init_of(name, context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_a_number_and_the_rest_is_a_container() {
        assert_eq!("web1".parse(), Ok(ProcessName::Container("web1".into())));
        assert_eq!("12".parse(), Ok(ProcessName::Number(Pid::from_raw(12).unwrap())));
        for wrong in ["", "0", "99999999999"] {
            assert!(wrong.parse::<ProcessName>().is_err(), "{wrong}");
        }
    }
}
