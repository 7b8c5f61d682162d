//! Borders inside a package, which cargo does not see.

use super::source::{Source, Token};
use crate::finding::Finding;

/// A folder or file, a path that must not be named in it, and why; code that `except` holds may.
struct Border {
    inside: &'static str,
    except: &'static str,
    name: &'static str,
    why: &'static str,
}

const BORDERS: [Border; 5] = [
    Border {
        inside: "framework/src/server/",
        except: "",
        name: "crate::client",
        why: "the server does not know the client: the service joins them",
    },
    Border {
        inside: "framework/src/client/",
        except: "",
        name: "crate::server",
        why: "the client does not know the server: the service joins them",
    },
    Border {
        inside: "framework/src/",
        except: "framework/src/backends.rs",
        name: "micro_registry_consul",
        why: BACKENDS,
    },
    Border {
        inside: "framework/src/",
        except: "framework/src/backends.rs",
        name: "micro_registry_etcd",
        why: BACKENDS,
    },
    Border {
        inside: "framework/src/",
        except: "framework/src/backends.rs",
        name: "micro_registry_mdns",
        why: BACKENDS,
    },
];

const BACKENDS: &str = "the backends are named in framework/src/backends.rs alone";

pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for border in &BORDERS {
        if !source.path.starts_with(border.inside) || source.path == border.except {
            continue;
        }
        let names = names(source, border.name).into_iter();
        findings.extend(names.filter(|token| !token.around.test).map(|token| {
            let message = format!("names `{}`: {}", border.name, border.why);
            Finding::at(&source.path, token.line, message)
        }));
    }
    findings
}

/// Where `path` is named, also within `use crate::{…}`.
fn names<'a>(source: &'a Source, path: &str) -> Vec<&'a Token> {
    let mut names: Vec<_> = source.find(path).map(|(_, token)| token).collect();
    if let Some(module) = path.strip_prefix("crate::") {
        let groups = source
            .find("crate::")
            .filter(|(index, _)| source.word(index + 3) == "{");
        names.extend(groups.flat_map(|(index, _)| {
            let inside = source.inside(index + 3).iter();
            inside.filter(|token| token.text == module)
        }));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{in_library, in_test},
        *,
    };

    #[test]
    fn server_and_client_do_not_know_each_other() {
        let (client, server) = ("use crate::client::Channel;", "use crate::server::Server;");
        assert_eq!(
            in_library(check, "framework/src/server/accept.rs", client).len(),
            1
        );
        assert_eq!(
            in_library(check, "framework/src/client/channel.rs", server).len(),
            1
        );
        let group = "use crate::{\n    Error,\n    client::Channel,\n};";
        assert!(
            in_library(check, "framework/src/server/accept.rs", group)[0]
                .starts_with("framework/src/server/accept.rs:3:")
        );
        assert_eq!(in_library(check, "framework/src/service/run.rs", server).len(), 0);
        assert_eq!(in_test(check, "framework/src/client/channel.rs", server).len(), 0);
    }

    #[test]
    fn one_file_names_the_backends() {
        for backend in ["consul", "etcd", "mdns"] {
            let text = format!("fn a() {{ micro_registry_{backend}::open() }}");
            assert_eq!(
                in_library(check, "framework/src/config/mod.rs", &text).len(),
                1,
                "{backend}"
            );
            assert_eq!(
                in_library(check, "framework/src/backends.rs", &text).len(),
                0,
                "{backend}"
            );
        }
    }
}
