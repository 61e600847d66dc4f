use super::reader::Reader;
use super::source::Text;
use crate::requirements::Error;
pub fn read(_: &Text, _: &mut Reader) -> Result<(), Error> {
    Ok(())
}
