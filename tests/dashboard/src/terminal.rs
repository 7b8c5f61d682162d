//! A picture of terminals as SVG: what was said in them, in its colours.

use std::fmt::Write as _;

/// The width of a terminal, in characters; longer lines go on in the next.
const COLUMNS: usize = 112;
/// The size of a character, which the font is made to fit.
const CHARACTER: f64 = 8.0;
const LINE: usize = 19;
/// Around the text, and between terminals.
const MARGIN: usize = 16;
const TITLE: usize = 30;

const STYLE: &str = "\
text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#d6deeb;white-space:pre}\
.t{fill:#8b98a9}.b{font-weight:bold}.d{opacity:.7}\
.c30{fill:#5c6773}.c31{fill:#f07178}.c32{fill:#8fd17a}.c33{fill:#ffcb6b}.c34{fill:#82aaff}.c35{fill:#c792ea}.c36{fill:#7fdbca}";

/// What one terminal shows: its title, and what was typed and said in it.
#[derive(Debug)]
pub struct Terminal<'a> {
    pub title: &'a str,
    pub said: String,
}

/// The classes of what an escape sequence has switched on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Looks {
    bold: bool,
    dim: bool,
    colour: Option<u8>,
}

/// Text of one look, and the column that it begins at.
#[derive(Debug, PartialEq, Eq)]
struct Piece {
    column: usize,
    looks: Looks,
    text: String,
}

/// A picture of the terminals, one below the other.
#[must_use]
pub fn picture(terminals: &[Terminal<'_>]) -> String {
    let text_width = (COLUMNS as f64 * CHARACTER) as usize;
    let width = text_width + 2 * MARGIN;
    let (mut body, mut top) = (String::new(), 0);
    for terminal in terminals {
        let lines: Vec<_> = terminal.said.lines().flat_map(pieces).collect();
        let height = TITLE + lines.len() * LINE + MARGIN;
        let _ = write!(
            body,
            "<rect y='{top}' width='{width}' height='{height}' rx='8' fill='#0f1722'/>\n\
             <text class='t' x='{MARGIN}' y='{}'>{}</text>\n",
            top + 20,
            escaped(terminal.title)
        );
        for (index, line) in lines.iter().enumerate() {
            let bottom = top + TITLE + (index + 1) * LINE - 5;
            for piece in line.iter().filter(|piece| !piece.text.trim().is_empty()) {
                let _ = writeln!(body, "{}", element(piece, bottom));
            }
        }
        top += height + MARGIN;
    }
    let height = top.saturating_sub(MARGIN);
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' viewBox='0 0 {width} {height}'>\n\
         <style>{STYLE}</style>\n{body}</svg>\n"
    )
}

fn element(piece: &Piece, bottom: usize) -> String {
    let begin = piece.text.len() - piece.text.trim_start().len();
    let text = piece.text.trim();
    let left = MARGIN as f64 + (piece.column + begin) as f64 * CHARACTER;
    // As wide as so many characters, whatever font there is.
    let length = text.chars().count() as f64 * CHARACTER;
    let classes = classes(&piece.looks);
    let text = escaped(text);
    format!("<text{classes} x='{left}' y='{bottom}' textLength='{length}' xml:space='preserve'>{text}</text>")
}

fn classes(looks: &Looks) -> String {
    let colour = looks.colour.map(|colour| format!("c{colour}"));
    let bold = looks.bold.then(|| "b".to_owned());
    let dim = looks.dim.then(|| "d".to_owned());
    let classes: Vec<_> = [colour, bold, dim].into_iter().flatten().collect();
    match classes.as_slice() {
        [] => String::new(),
        _ => format!(" class='{}'", classes.join(" ")),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// A line as those that a terminal makes of it.
fn pieces(line: &str) -> Vec<Vec<Piece>> {
    let (mut lines, mut looks, mut column) = (vec![Vec::<Piece>::new()], Looks::default(), 0);
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' {
            // Nothing else than `ESC [ … m` is written here.
            let codes: String = rest.by_ref().skip(1).take_while(|c| *c != 'm').collect();
            codes.split(';').for_each(|code| looks.take(code));
            continue;
        }
        if column == COLUMNS {
            lines.push(Vec::new());
            column = 0;
        }
        let line = lines.last_mut().expect("there is a first line");
        match line.last_mut() {
            Some(piece) if piece.looks == looks => piece.text.push(c),
            _ => line.push(Piece {
                column,
                looks: looks.clone(),
                text: c.to_string(),
            }),
        }
        column += 1;
    }
    lines
}

impl Looks {
    fn take(&mut self, code: &str) {
        match code.parse() {
            Ok(0) | Err(_) => *self = Self::default(),
            Ok(1) => self.bold = true,
            Ok(2) => self.dim = true,
            Ok(22) => (self.bold, self.dim) = (false, false),
            Ok(39) => self.colour = None,
            Ok(colour @ 30..=36) => self.colour = Some(colour),
            Ok(bright @ 90..=96) => self.colour = Some(bright - 60),
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_pieces_and_long_lines_two() {
        let line = format!("\u{1b}[1m\u{1b}[32mok\u{1b}[0m {}", "x".repeat(COLUMNS));
        let lines = pieces(&line);
        let looks = Looks {
            bold: true,
            dim: false,
            colour: Some(32),
        };
        assert_eq!(lines.len(), 2);
        assert_eq!(
            lines[0][0],
            Piece {
                column: 0,
                looks,
                text: "ok".to_owned()
            }
        );
        assert_eq!((lines[0][1].column, lines[0][1].text.len()), (2, COLUMNS - 2));
        assert_eq!((lines[1][0].column, lines[1][0].text.as_str()), (0, "xxx"));
    }

    #[test]
    fn what_was_said_is_text_and_no_markup() {
        let picture = picture(&[Terminal {
            title: "1",
            said: "< 512 & more".to_owned(),
        }]);
        assert!(picture.contains("&lt; 512 &amp; more</text>"), "{picture}");
    }
}
