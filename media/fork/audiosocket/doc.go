// Package audiosocket takes the audio that Asterisk sends over AudioSocket: a
// TCP connection for each direction, to which Asterisk connects.
//
//	+------+----------------+-----------------+
//	| kind | length (be16)  | payload[length] |
//	+------+----------------+-----------------+
//
// The first frame is the UUID that the dialplan or the application has given
// the connection; audio, digits and a hang-up follow. The source is Asterisk's
// res_audiosocket. Package tcp runs the sessions on sockets.
//
// # Calls and legs
//
// A connection is one leg, of one party or of a mix. It becomes a call of its
// own, whose External is the UUID and which has one leg. What a UUID stands for
// is for Config.Lookup to say, from an announcement that came before: the call,
// its agent, the leg's role. Two connections of one call, such as those of two
// snoop channels, come as two calls of Host.Open that Lookup gives the same ID.
// A Host that joins connections of one ID gets legs of different IDs, which are
// the UUIDs unless Lookup names others; one that does not returns
// media.ErrDuplicate, and the second connection is closed. So is, with either, a
// second connection of a UUID that is running: they are never mixed.
//
// # Silence
//
// Some versions of Asterisk stop sending when nothing comes back. So a frame of
// silence goes back every 20 ms, of the kind that is received, unless
// Config.Quiet is set: into a snoop channel, where nobody hears it.
package audiosocket
