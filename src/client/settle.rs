//! `autodeployctl block`, `unblock`, `pause` and `resume`: orders that are done when they are
//! answered.

use std::path::Path;

use crate::client::contact::Contact;
use crate::client::exit::Exit;
use crate::client::failed::Failed;
use crate::client::link::{Link, Order};
use crate::client::output;
use crate::client::render::words;

/// Gives the order and says what autodeployd says.
///
/// # Errors
/// It was refused, or autodeployd is not there.
pub async fn run(socket: &Path, order: Order) -> Result<Exit, Failed> {
    let mut link = Link::open(socket).await?;
    let taken = Contact::new(socket).patiently(link.order(&order)).await?;
    output::print(&format!("{}\n", words::line(&taken.message)))?;
    Ok(Exit::Done)
}
