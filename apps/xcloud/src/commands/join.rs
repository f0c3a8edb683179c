//! `xcloud init`: a new account, or an existing one on this device.

use std::sync::Arc;

use client::drive::join::Contact;
use client::drive::{Home, Settings};
use client::transfer::SystemEnvironment;
use model::crypto::Mnemonic;
use serde::Serialize;

use crate::cli::InitArgs;
use crate::exit::{Exit, Failure};
use crate::phrase;
use crate::printer::Printer;

#[derive(Serialize)]
struct Joined<'a> {
    account: String,
    volume: String,
    bridge: String,
    device: &'a str,
    home: String,
}

pub(super) async fn init(home: &Home, args: InitArgs, printer: Printer) -> Result<Exit, Failure> {
    home.expect_empty()?;
    if args.yes && args.mnemonic_file.is_none() && args.restore.is_none() {
        return Err(Failure::usage(
            "--yes asks nothing, so it needs --mnemonic-file FILE",
        ));
    }
    if let Some(path) = &args.mnemonic_file {
        phrase::expect_no_file(path)?;
    }
    let restored = args.restore.as_deref().map(phrase::read_file).transpose()?;
    let device = args.device_name.clone().unwrap_or_else(machine_name);
    let contact = Contact::reach(args.bridge.clone(), Arc::new(SystemEnvironment)).await?;
    let settings = match restored {
        Some(phrase) => contact.restore_account(home, &phrase, &device).await?,
        None => open(&contact, home, &args, &device).await?,
    };
    tell(printer, home, &args, &settings)?;
    Ok(Exit::Done)
}

async fn open(
    contact: &Contact,
    home: &Home,
    args: &InitArgs,
    device: &str,
) -> Result<Settings, Failure> {
    let phrase: Mnemonic = phrase::draw()?;
    match &args.mnemonic_file {
        Some(path) => phrase::write_file(path, &phrase)?,
        None => phrase::show_and_prove(&phrase)?,
    }
    let opened = contact.open_account(home, &phrase, device).await;
    opened.map_err(|error| {
        let mut failure = Failure::from(error);
        if let Some(path) = &args.mnemonic_file {
            let hint = format!(
                "the account may be open all the same; try `xcloud init --bridge {} --restore {}`",
                args.bridge,
                path.display()
            );
            failure.error = failure.error.context(hint);
        }
        failure
    })
}

fn tell(
    printer: Printer,
    home: &Home,
    args: &InitArgs,
    settings: &Settings,
) -> Result<(), Failure> {
    if printer.json {
        printer.value(&Joined {
            account: settings.account.to_string(),
            volume: settings.volume.to_string(),
            bridge: settings.bridge.to_string(),
            device: &settings.device_name,
            home: home.dir().display().to_string(),
        })?;
    }
    let how = if args.restore.is_some() {
        "is now on this device"
    } else {
        "is open"
    };
    printer.remark(&format!("Account {} {how}.", settings.account.short()));
    if let Some(path) = &args.mnemonic_file {
        let path = path.display();
        printer.remark(&format!(
            "Its recovery phrase is in {path}; keep it somewhere else too."
        ));
    }
    Ok(())
}

fn machine_name() -> String {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy();
    let name: String = name.chars().take(16).collect();
    if name.is_empty() {
        "device".to_owned()
    } else {
        name
    }
}
