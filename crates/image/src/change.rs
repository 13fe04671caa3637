//! `--change`: the instructions of a Dockerfile that only change an image's configuration.

use crate::Error;
use skiff_oci::image::Config;

impl Error {
    fn change(text: &str, why: &'static str) -> Self {
        Self::Change { text: text.to_owned(), why }
    }
}

/// Applies `change` to `config`.
///
/// # Errors
/// [`Error::Change`]
pub(crate) fn apply(config: &mut Config, change: &str) -> Result<(), Error> {
    let text = change.trim();
    let (instruction, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    if rest.is_empty() {
        return Err(Error::change(change, "the instruction has no argument"));
    }
    match instruction.to_ascii_uppercase().as_str() {
        "CMD" => {
            config.set_cmd(Some(command(change, rest)?));
        }
        "ENTRYPOINT" => {
            config.set_entrypoint(Some(command(change, rest)?));
        }
        "ENV" => set_environment(config, &pairs(change, rest)?),
        "LABEL" => {
            let mut labels = config.labels().clone().unwrap_or_default();
            labels.extend(pairs(change, rest)?);
            config.set_labels(Some(labels));
        }
        "EXPOSE" => {
            let mut ports = config.exposed_ports().clone().unwrap_or_default();
            for port in rest.split_whitespace() {
                add_new(&mut ports, expose(change, port)?);
            }
            config.set_exposed_ports(Some(ports));
        }
        "VOLUME" => {
            let mut volumes = config.volumes().clone().unwrap_or_default();
            let wanted = if rest.starts_with('[') {
                command(change, rest)?
            } else {
                rest.split_whitespace().map(str::to_owned).collect()
            };
            for volume in wanted {
                add_new(&mut volumes, volume);
            }
            config.set_volumes(Some(volumes));
        }
        "STOPSIGNAL" => {
            config.set_stop_signal(Some(rest.to_owned()));
        }
        "USER" => {
            config.set_user(Some(rest.to_owned()));
        }
        "WORKDIR" => {
            if !rest.starts_with('/') {
                return Err(Error::change(change, "the directory must be absolute"));
            }
            config.set_working_dir(Some(rest.to_owned()));
        }
        _ => {
            return Err(Error::change(
                change,
                "only CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME and WORKDIR can be changed",
            ));
        }
    }
    Ok(())
}

fn add_new(list: &mut Vec<String>, item: String) {
    if !list.contains(&item) {
        list.push(item);
    }
}

/// `["a", "b"]`, or a line for the shell.
fn command(change: &str, text: &str) -> Result<Vec<String>, Error> {
    if text.starts_with('[') {
        return serde_json::from_str(text)
            .map_err(|_| Error::change(change, "the list is not a JSON array of strings"));
    }
    Ok(vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()])
}

fn set_environment(config: &mut Config, pairs: &[(String, String)]) {
    let mut env = config.env().clone().unwrap_or_default();
    for (key, value) in pairs {
        env.retain(|one| one.split('=').next() != Some(key));
        env.push(format!("{key}={value}"));
    }
    config.set_env(Some(env));
}

/// `PORT[/tcp|udp|sctp]`, with the protocol written out.
fn expose(change: &str, port: &str) -> Result<String, Error> {
    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let is_port = number.parse::<u16>().is_ok_and(|number| number > 0);
    if is_port && matches!(protocol, "tcp" | "udp" | "sctp") {
        Ok(format!("{number}/{protocol}"))
    } else {
        Err(Error::change(change, "a port is 1 to 65535 and tcp, udp or sctp"))
    }
}

/// `KEY=VALUE …`, where a value may be in quotes, or the old form `KEY VALUE`.
fn pairs(change: &str, text: &str) -> Result<Vec<(String, String)>, Error> {
    let first = text.split_whitespace().next().unwrap_or_default();
    if !first.contains('=') {
        return match text.split_once(char::is_whitespace) {
            Some((key, value)) => Ok(vec![(key.to_owned(), value.trim().to_owned())]),
            None => Err(Error::change(change, "a key without a value")),
        };
    }
    words(change, text)?
        .into_iter()
        .map(|word| match word.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(Error::change(change, "a key without a value")),
        })
        .collect()
}

/// Words with quotes and backslashes taken away.
fn words(change: &str, text: &str) -> Result<Vec<String>, Error> {
    let (mut words, mut word, mut is_inside) = (Vec::new(), String::new(), false);
    let mut quote = None;
    let mut signs = text.chars();
    while let Some(sign) = signs.next() {
        match (quote, sign) {
            (None, '\'' | '"') => (quote, is_inside) = (Some(sign), true),
            (Some(open), sign) if open == sign => quote = None,
            (None | Some('"'), '\\') => {
                word.push(signs.next().ok_or_else(|| Error::change(change, "a backslash at the end"))?);
                is_inside = true;
            }
            (None, sign) if sign.is_whitespace() => {
                if is_inside {
                    words.push(std::mem::take(&mut word));
                    is_inside = false;
                }
            }
            (_, sign) => {
                word.push(sign);
                is_inside = true;
            }
        }
    }
    if quote.is_some() {
        return Err(Error::change(change, "a quote that is not closed"));
    }
    if is_inside {
        words.push(word);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &[&str]) -> Config {
        let mut config = Config::default();
        for change in changes {
            apply(&mut config, change).unwrap_or_else(|error| panic!("{change}: {error}"));
        }
        config
    }

    #[test]
    fn instructions_change_what_they_name() {
        let config = changed(&[
            "CMD [\"a\", \"b c\"]",
            "entrypoint run it",
            "ENV A=1 B=\"two words\" C=x\\ y",
            "ENV A again",
            "LABEL k='v=w'",
            "EXPOSE 80 53/udp 80/tcp",
            "VOLUME /data /log",
            "VOLUME [\"/more\"]",
            "USER 1:2",
            "WORKDIR /srv",
            "STOPSIGNAL SIGQUIT",
        ]);
        let list = |items: &[&str]| Some(items.iter().map(|&item| item.to_owned()).collect::<Vec<_>>());
        assert_eq!(*config.cmd(), list(&["a", "b c"]));
        assert_eq!(*config.entrypoint(), list(&["/bin/sh", "-c", "run it"]));
        assert_eq!(*config.env(), list(&["B=two words", "C=x y", "A=again"]));
        assert_eq!(config.labels().as_ref().unwrap()["k"], "v=w");
        assert_eq!(*config.exposed_ports(), list(&["80/tcp", "53/udp"]));
        assert_eq!(*config.volumes(), list(&["/data", "/log", "/more"]));
        assert_eq!(config.user().as_deref(), Some("1:2"));
        assert_eq!(config.working_dir().as_deref(), Some("/srv"));
        assert_eq!(config.stop_signal().as_deref(), Some("SIGQUIT"));
    }

    #[test]
    fn other_instructions_are_refused_by_reason() {
        for change in [
            "",
            "CMD",
            "RUN ls",
            "ENV A",
            "ENV =x",
            "ENV A='x",
            "CMD [1]",
            "WORKDIR x",
            "EXPOSE 0",
            "EXPOSE 1/x",
        ] {
            let error = apply(&mut Config::default(), change).unwrap_err();
            assert!(matches!(error, Error::Change { .. }), "{change}");
        }
    }
}
