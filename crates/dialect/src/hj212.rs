//! HJ 212: environment monitoring stations, editions 2005, 2017 and 2025. The station speaks, the gateway acknowledges.
//!
//! ```text
//! ##0087QN=…;ST=…;CN=…;PW=…;MN=…;Flag=…;[PNUM=…;PNO=…;]CP=&&a34004-Rtd=31,a34004-Flag=N&&6600\r\n
//!   └ length of the segment                                └ pairs                         └ checksum
//!
//!  bytes ─► Framer ─► segment ─► Message ─► Packets (split messages joined) ─► Report
//!                                   └─► acknowledgement
//! ```
//!
//! Fields are named as the station names them: `w01010-Rtd`, `a34004-Avg`. A data flag other than N becomes doubt.
//!
//! Not here: SM4 of the edition of 2025. Its keys come from the ministry's platform, and a cipher in blocks with a plain
//! tail hides little; a station has to send in plain text, over a line that is protected otherwise. An encrypted body
//! fails its checksum, which belongs to the plain text, and is not acknowledged. Nor are stations commanded (10xx, 30xx):
//! they are heard and acknowledged.

mod calendar;
mod frame;
mod message;
mod packets;

pub use calendar::moment;
pub use frame::{Crc, Frame, FrameFault, Framer, encode};
pub use message::{Content, Message, MessageFault};
pub use packets::Packets;
