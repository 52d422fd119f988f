//! The results as one HTML page that needs no other file.

use super::Case;
use super::figures::{Figure, escaped};
use super::results::Results;
use super::tables::{self, Table};

const STYLE: &str = "body{font:15px/1.45 sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;color:#111}\
table{border-collapse:collapse;margin:0 0 1.5em;font-size:13px}td,th{border:1px solid #ccc;padding:3px 8px;text-align:left}\
th{background:#f3f3f3}.wide{overflow-x:auto}svg{max-width:100%;height:auto;display:block;margin:0 0 1.5em}.notice{font-weight:bold}";

/// The page: tables, figures, what failed, and each case.
pub fn html(cases: &[Case], results: &Results, figures: &[Figure]) -> String {
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>ichor evaluate</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <h1>Automated masks against manual ones</h1>\n<p class=\"notice\">{}</p>\n",
        escaped(results.notice)
    );
    for line in tables::remarks(results) {
        html.push_str(&format!("<p>{}</p>\n", escaped(&line)));
    }
    tables::all(results).iter().for_each(|table| html.push_str(&table_html(table)));
    figures.iter().for_each(|figure| html.push_str(&figure.drawing.svg()));
    html.push_str(&table_html(&tables::cases(cases)));
    html.push_str("</body>\n</html>\n");
    html
}

fn table_html(table: &Table) -> String {
    let row = |cells: &[String], tag: &str| {
        let cells: String = cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let rows: String = table.rows.iter().map(|cells| row(cells, "td")).collect();
    format!(
        "<h2>{}</h2>\n<div class=\"wide\"><table>\n{}{rows}</table></div>\n",
        escaped(&table.title),
        row(&table.columns, "th")
    )
}
