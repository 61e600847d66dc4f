use super::demand::Choice;
use super::reader::Reader;
use super::source::Text;
use crate::requirements::Error;
pub fn read(_: &Text, _: &mut Reader, _: Option<&Choice>) -> Result<(), Error> {
    Ok(())
}
