// Package intent finds intents in what a leg says: phrases of a small language
// are compiled into a Set, and a Listener follows the words as they become
// stable.
//
// A phrase is a run of words. Case, punctuation, hesitations, stuttered words,
// noise marks and contractions do not count: "I'd" is heard as "I would",
// "can't" as "can not". Chinese is matched character by character, with or
// without spaces.
//
//	lost my card        these words
//	lose~               lose, loses, losing, losed
//	(card|cheque book)  one of these
//	[my|the]            one of these, or nothing
//	lost ... card       up to four words between; ...9 is up to nine
//	!(card|cards) fee   the words in brackets are not what comes next
//	$card               a class, which is a phrase with a name
//
// A phrase may begin in one utterance and end in the next of the same leg, if
// the pause is short. A guard ("unless") is a phrase that makes a match void
// when it overlaps or touches it: "not lost" beside "lost my card".
package intent
