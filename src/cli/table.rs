//! `ichor table`

use crate::cli::arguments::Table;
use crate::cli::talk;
use ichor::Result;
use ichor::batch::page;
use ichor::batch::table;
use ichor::io::lock::PATIENCE;
use std::process::ExitCode;

pub fn run(arguments: &Table) -> Result<ExitCode> {
    let table::Remade { rows, unreadable, gone } = table::remake(&arguments.folder, PATIENCE)?;
    page::refresh(&arguments.folder, PATIENCE)?;
    for (path, problem) in &unreadable {
        log::error!("{}: it is no report of this version of ichor, and has no row ({problem})", path.display());
    }
    for name in &gone {
        log::warn!("{name}: its row is gone, for there is no report of it");
    }
    let failed = rows.iter().filter(|row| row.status == "failed").count();
    let plural = if rows.len() == 1 { "" } else { "s" };
    let scans = format!("{} scan{plural}, {failed} failed", rows.len());
    talk::columns(&[&arguments.folder.join(table::NAME).display(), &scans]);
    Ok(if unreadable.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
