//! Whose a listening socket is, as Linux tells it.

use std::{fs, path::PathBuf};

/// How the tables of sockets mark one that listens.
const LISTENING: &str = "0A";

/// Whether the process listens on the TCP port; `None` where the system does not tell.
pub(crate) fn listens(process: u32, port: u16) -> Option<bool> {
    let folder = PathBuf::from(format!("/proc/{process}"));
    let tables = ["net/tcp", "net/tcp6"].map(|table| fs::read_to_string(folder.join(table)));
    let sockets: Vec<_> = tables
        .iter()
        .flatten()
        .flat_map(|table| table.lines().filter_map(|line| listening(line, port)))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let mut descriptors = fs::read_dir(folder.join("fd")).ok()?;
    Some(descriptors.any(|descriptor| {
        // It may be closed by now.
        let target = descriptor.and_then(|descriptor| fs::read_link(descriptor.path()));
        target.is_ok_and(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
    }))
}

/// The inode of the socket of this line, if it listens on the port.
fn listening(line: &str, port: u16) -> Option<&str> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let (_, hex) = fields.get(1)?.rsplit_once(':')?;
    let is_it = u16::from_str_radix(hex, 16) == Ok(port) && fields.get(3) == Some(&LISTENING);
    fields.get(9).copied().filter(|_| is_it)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{
        net::TcpListener,
        process::{self, Command, Stdio},
    };

    use super::*;

    #[test]
    fn a_port_is_its_owner_s_alone() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut other = Command::new("sleep")
            .arg("60")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        assert_eq!(listens(process::id(), port), Some(true));
        assert_eq!(listens(other.id(), port), Some(false));
        drop(listener);
        assert_eq!(listens(process::id(), port), Some(false));
        other.kill().unwrap();
        other.wait().unwrap();
        assert_eq!(listens(other.id(), port), None);
    }
}
