//! `ichor train`

use super::talk;
use super::with_threads;
use crate::cli::arguments::Train;
use crate::cli::talk::say;
use ichor::scan::Template;
use ichor::training::{Cache, Config, Pairs, Phantoms, Progress, Source, check_folder, train};
use ichor::words::counted;
use ichor::{Error, Result};
use std::path::Path;
use std::process::ExitCode;

pub fn run(arguments: &Train) -> Result<ExitCode> {
    let config = Config::load(arguments.config.as_deref(), arguments.from.as_deref(), &arguments.output)?;
    let given = [arguments.config.as_deref(), arguments.template.as_deref(), config.from.as_deref().map(Path::new)];
    let inputs: Vec<&Path> = given.into_iter().flatten().collect();
    check_folder(&config, &arguments.output, &inputs)?;
    with_threads(arguments.threads.threads, |_| {
        let folder = &arguments.output;
        let cache = arguments.cache.clone().unwrap_or_else(|| folder.join("samples"));
        let planar = config.network.is_planar();
        match &arguments.data {
            Some(data) => {
                let template = Template::load(arguments.template.as_deref())?.volume;
                let most = config.data.held_out + config.data.training;
                let pairs = Pairs::open(data, template, (!planar).then_some(config.data.grid), most)?;
                log::info!("{} of scan and label in {}", counted(pairs.len(), "pair"), data.display());
                learn(&config, &Cache::new(pairs, &cache)?, arguments)
            }
            None => learn(&config, &Cache::new(Phantoms::new(config.seed, &config.data, planar)?, &cache)?, arguments),
        }
    })?
}

fn learn(config: &Config, source: &dyn Source, arguments: &Train) -> Result<ExitCode> {
    let folder = &arguments.output;
    let bar = talk::updates();
    log::debug!("options:\n{}", config.to_toml().trim_end());
    let outcome = train(config, source, folder, |progress| match progress {
        Progress::Update(update, updates, loss) => {
            bar.set_length(updates as u64);
            bar.set_position(update as u64);
            bar.set_message(format!("loss {loss:.4}"));
        }
        Progress::Epoch(row, left) => {
            log::info!(
                "epoch {}: loss {:.4}, held out: loss {:.4}, Dice {:.3}, {:.2} mL false; {:.0} s, {} left",
                row.epoch,
                row.loss,
                row.held_out_loss,
                row.held_out_dice,
                row.false_ml,
                row.seconds,
                duration(left)
            );
        }
    })?;
    bar.finish_and_clear();
    if outcome.early {
        log::info!("stopped: the held-out loss has not improved for {}", counted(config.schedule.patience, "epoch"));
    }
    for (part, seconds) in &outcome.seconds {
        log::debug!("{part}: {seconds:.1} s");
    }
    let least = outcome.history.iter().min_by(|a, b| a.held_out_loss.total_cmp(&b.held_out_loss));
    let best = least.ok_or_else(|| Error::Training { path: folder.clone(), problem: "no epoch was trained".into() })?;
    let best = format!("epoch {}, held-out Dice {:.3}", best.epoch, best.held_out_dice);
    talk::columns(&[&folder.join("weights.safetensors").display(), &best]);
    say!("For research use only, not for diagnosis.");
    Ok(ExitCode::SUCCESS)
}

/// Seconds as hours and minutes.
fn duration(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round() as u64;
    if minutes < 60 { format!("{minutes} min") } else { format!("{} h {} min", minutes / 60, minutes % 60) }
}
