// Package spoof looks for signs that a voice is played or made rather than spoken.
// They stand beside the voice score and never in it: a Policy says which of them may
// veto, all others are told.
//
// Three kinds of signs, by how far they carry:
//
// Repetition. Nobody says a sentence twice in the same way. What repeats an earlier
// call or the enrolment for two seconds or more is a recording; see the package
// fingerprint for its error rates, and for what repeats without being an attack.
//
// Loudspeaker. A loudspeaker in a room smears the pulses of a throat and lets sounds
// fade slower than they rise. A person who speaks hands-free does the same, and a
// recording that is fed into the line without a loudspeaker does not: the sign says
// how the sound came, not who made it. Loudspeakers and rooms were simulated.
//
// Synthetic speech. The spectrum of a synthesiser moves otherwise than that of people
// at a telephone. Old synthesisers are told, neural ones hardly: most clips of Kokoro
// pass.
//
// Error rates of the cues in per cent by TestSpoofTable, on 5 to 15 s of speech at
// telephone quality, with speakers and a synthesiser that the weights had not learnt
// from: EER, and at the default policy's probability the attacks that are missed
// (APCER) and the people that are told of (BPCER).
//
//	                           clean               babble or noise at 15 dB
//	                     EER  APCER  BPCER           EER  APCER  BPCER
//	synthetic, espeak-ng   0      0    1.4             7     12      0
//	synthetic, flite       5     30    0.5            16     80      0
//	synthetic, Piper      11     22    0.5             8     78      0
//	synthetic, festival   13     33    0.5            25     73      0
//	synthetic, Kokoro     29     93      0            29     93      0
//	loudspeaker            4     27    0.5             7     18      6
//
// The figures are small-sample ones: 9 to 20 clips of each synthesiser, 88 people
// through loudspeakers, 220 recordings of people. Which cues there are was chosen on the
// same recordings, only their weights were not: expect somewhat worse.
//
// What cannot be seen. Voice conversion and cloning: a good clone that is fed into the
// line says new sentences in the right voice, and nothing here tells it. There was no
// such audio to measure with, so no rate is claimed. The same holds for recordings of
// the person that never passed this service, played into the line sentence by
// sentence. Against both stand what the person knows, where the call comes from and a
// question that no recording answers.
//
// What was tried and does not ship, because it is at chance on the telephone or takes
// people for attacks. Digital silence between words: mu-law makes zeros of quiet rooms
// as well, and codecs make noise of a synthesiser's silence (18 to 64 % of recordings
// of people had it). Steadiness of the floor. Constancy of pitch from period to period:
// EER 13 to 19 % with espeak-ng and 20 to 60 % with other synthesisers. Tilt and low cut: the
// handset's own response hides them.
package spoof
