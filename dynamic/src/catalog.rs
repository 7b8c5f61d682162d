//! What a server offers, and how a method is found in it by the name that somebody typed.

use std::fmt;

use bytes::Bytes;
use prost_reflect::{DescriptorPool, MethodDescriptor, ServiceDescriptor};

/// All services of a server with their descriptors.
#[derive(Clone, Debug)]
pub struct Catalog {
    pool: DescriptorPool,
    set: Bytes,
    services: Vec<String>,
}

/// Why a method was not found. `Display` names what there is instead.
#[derive(Debug, PartialEq, Eq)]
pub enum MethodError {
    /// There is no such method.
    Unknown {
        /// What was asked for.
        asked: String,
        /// What there is, as `greeter.Say/Hello`.
        offered: Vec<String>,
    },
    /// Several methods have this name.
    Ambiguous {
        /// What was asked for.
        asked: String,
        /// The methods that fit.
        fitting: Vec<String>,
    },
}

/// Whether a gRPC service is part of gRPC itself (health, reflection) rather than of what the server is for.
fn is_infrastructure(service: &str) -> bool {
    service.starts_with("grpc.")
}

impl Catalog {
    pub(crate) fn new(pool: DescriptorPool, set: Bytes, services: Vec<String>) -> Self {
        Self { pool, set, services }
    }

    /// The files as one encoded file descriptor set.
    pub fn descriptor_set(&self) -> Bytes {
        self.set.clone()
    }

    /// The services that are described, without those of gRPC itself, sorted by name.
    pub fn services(&self) -> impl Iterator<Item = ServiceDescriptor> {
        self.described()
            .filter(|service| !is_infrastructure(service.full_name()))
    }

    fn described(&self) -> impl Iterator<Item = ServiceDescriptor> {
        self.services
            .iter()
            .filter_map(|name| self.pool.get_service_by_name(name))
    }

    /// Finds a method by `greeter.Say/Hello`, `greeter.Say.Hello`, `Say.Hello`, or `Hello` where it is the only one.
    ///
    /// # Errors
    ///
    /// When no method fits, or several do; it names those there are.
    pub fn method(&self, asked: &str) -> Result<MethodDescriptor, MethodError> {
        let (service, name) = split(asked);
        let mut fitting: Vec<_> = self
            .described()
            .filter(|descriptor| fits(descriptor.full_name(), service))
            .flat_map(|descriptor| descriptor.methods().collect::<Vec<_>>())
            .filter(|method| method.name() == name)
            .collect();
        // The full name is never ambiguous, even if it is the end of a longer one.
        if let Some(exact) = fitting
            .iter()
            .position(|method| method.parent_service().full_name() == service)
        {
            return Ok(fitting.swap_remove(exact));
        }
        match fitting.len() {
            0 => Err(self.unknown(asked)),
            1 => Ok(fitting.remove(0)),
            _ => Err(MethodError::Ambiguous {
                asked: asked.to_owned(),
                fitting: fitting.iter().map(display_name).collect(),
            }),
        }
    }

    fn unknown(&self, asked: &str) -> MethodError {
        let offered = self
            .services()
            .flat_map(|service| {
                service
                    .methods()
                    .map(|method| display_name(&method))
                    .collect::<Vec<_>>()
            })
            .collect();
        MethodError::Unknown {
            asked: asked.to_owned(),
            offered,
        }
    }
}

/// Splits at the last `/`, or else at the last `.`; without either, the service is empty and fits all of the user's.
fn split(asked: &str) -> (&str, &str) {
    let asked = asked.strip_prefix('/').unwrap_or(asked);
    asked
        .rsplit_once('/')
        .or_else(|| asked.rsplit_once('.'))
        .unwrap_or(("", asked))
}

fn fits(full_name: &str, asked: &str) -> bool {
    if asked.is_empty() {
        return !is_infrastructure(full_name);
    }
    full_name
        .strip_suffix(asked)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn display_name(method: &MethodDescriptor) -> String {
    format!("{}/{}", method.parent_service().full_name(), method.name())
}

impl fmt::Display for MethodError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { asked, offered } if offered.is_empty() => {
                write!(f, "no method `{asked}`: the server describes no methods")
            }
            Self::Unknown { asked, offered } => {
                write!(f, "no method `{asked}`; there are: {}", offered.join(", "))
            }
            Self::Ambiguous { asked, fitting } => {
                write!(f, "several methods that fit `{asked}`: {}", fitting.join(", "))
            }
        }
    }
}

impl std::error::Error for MethodError {}
