//! What stands for tables, pages and pictures in a build without the feature `report`: an error that says so. One scan is
//! done, and its mask and report are written, without any of them.

use crate::Error;
use std::io;
use std::path::Path;

/// What there is not, for the error of the file at `path`.
fn missing(path: &Path) -> Error {
    Error::write(path)(unsupported())
}

fn unsupported() -> io::Error {
    let problem = "this build of ichor makes no tables, pages and pictures: build it with the feature `report`";
    io::Error::new(io::ErrorKind::Unsupported, problem)
}

/// The table of a folder of results.
pub mod table {
    use crate::Result;
    use crate::batch::report::Row;
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    pub const NAME: &str = "ichor.csv";

    /// A table that is not written.
    pub struct Table(PathBuf);

    impl Table {
        pub fn of(path: &Path) -> Table {
            Table(path.to_path_buf())
        }

        pub fn put(&mut self, _: Row) {}

        pub fn remove(&mut self, _: &str) {}

        /// # Errors
        /// Always [`crate::Error::Write`].
        pub fn write_if_due(&mut self) -> Result<()> {
            Err(super::missing(&self.0))
        }

        /// # Errors
        /// Always [`crate::Error::Write`].
        pub fn write(&mut self, _: Duration) -> Result<()> {
            Err(super::missing(&self.0))
        }
    }
}

/// The page of a folder of results.
pub mod page {
    use crate::Result;
    use std::path::Path;
    use std::time::Duration;

    /// # Errors
    /// Always [`crate::Error::Write`].
    pub fn check(folder: &Path) -> Result<()> {
        refresh(folder, Duration::ZERO)
    }

    /// # Errors
    /// Always [`crate::Error::Write`].
    pub fn refresh(folder: &Path, _: Duration) -> Result<()> {
        Err(super::missing(&folder.join("ichor.html")))
    }
}

/// The picture of a scan.
pub mod picture {
    use crate::batch::report::{Layout, Report};
    use crate::volume::Volume;
    use std::io;

    /// A picture that is not drawn.
    pub struct Canvas;

    impl Canvas {
        /// # Errors
        /// Always.
        pub fn png(&self) -> io::Result<Vec<u8>> {
            Err(super::unsupported())
        }
    }

    /// Nothing, of which no picture is drawn.
    pub fn window(scan: &Volume<f32>) -> Volume<u8> {
        scan.map(|_| 0)
    }

    /// A picture that says at its writing that there is none.
    pub fn draw(_: &Volume<u8>, _: &Volume<bool>, _: &Volume<bool>, _: Option<&Volume<bool>>, _: &Report) -> (Canvas, Layout) {
        let layout = Layout { size: [0; 2], panel: [0; 2], columns: 0, top: 0, slices: Vec::new(), key: 0, mm: 0.0 };
        (Canvas, layout)
    }
}
