package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"sidetone/internal/safetensors"
	"sidetone/internal/tensor"
	"sidetone/internal/torchfile"
)

// words are the names that OpenAI and Hugging Face have for parts of a model.
// In places [0] and [1] stands that of the encoder and of the decoder.
type words struct {
	prefix                       string
	positions                    string
	embedding                    string
	lastNorm                     [2]string
	layers                       string
	selfNorm, crossNorm, ffnNorm string
	self, cross                  string
	query, key, value, out       string
	wide, narrow                 string
}

func openAIWords() words {
	return words{
		positions: "positional_embedding", embedding: "token_embedding.weight",
		lastNorm: [2]string{"ln_post", "ln"},
		layers:   "blocks", selfNorm: "attn_ln", crossNorm: "cross_attn_ln", ffnNorm: "mlp_ln",
		self: "attn", cross: "cross_attn",
		query: "query", key: "key", value: "value", out: "out",
		wide: "mlp.0", narrow: "mlp.2",
	}
}

func huggingFaceWords() words {
	return words{
		positions: "embed_positions.weight", embedding: "embed_tokens.weight",
		lastNorm: [2]string{"layer_norm", "layer_norm"},
		layers:   "layers", selfNorm: "self_attn_layer_norm", crossNorm: "encoder_attn_layer_norm", ffnNorm: "final_layer_norm",
		self: "self_attn", cross: "encoder_attn",
		query: "q_proj", key: "k_proj", value: "v_proj", out: "out_proj",
		wide: "fc1", narrow: "fc2",
	}
}

// translate is the words' dialect.
func (w words) translate(name string) []string {
	at := strings.Split(name, "/")
	if len(at) < 3 || at[0] != "encoder" && at[0] != "decoder" {
		return nil
	}
	side := 0
	if at[0] == "decoder" {
		side = 1
	}
	names := w.outside(side, strings.Join(at[1:], "/"))
	if layer, ok := strings.CutPrefix(at[1], "layer_"); ok && layer != "norm" && len(at) > 3 {
		names = w.inside(strings.Join(at[2:len(at)-1], "/"), at[len(at)-1])
		for i, n := range names {
			if n != "" {
				names[i] = w.layers + "." + layer + "." + n
			}
		}
	}
	for i, n := range names {
		if n != "" {
			names[i] = w.prefix + at[0] + "." + n
		}
	}
	return names
}

// outside names what stands outside the layers.
func (w words) outside(side int, name string) []string {
	switch name {
	case "conv1/weight", "conv1/bias", "conv2/weight", "conv2/bias":
		return []string{strings.Replace(name, "/", ".", 1)}
	case "position_encodings/encodings":
		return []string{w.positions}
	case "embeddings/weight":
		return []string{w.embedding}
	case "layer_norm/gamma":
		return []string{w.lastNorm[side] + ".weight"}
	case "layer_norm/beta":
		return []string{w.lastNorm[side] + ".bias"}
	}
	return nil
}

// inside names what a layer has: part is the place and leaf the kind of array.
func (w words) inside(part, leaf string) []string {
	if norm, ok := map[string]string{
		"self_attention/layer_norm": w.selfNorm, "attention/layer_norm": w.crossNorm, "ffn/layer_norm": w.ffnNorm,
	}[part]; ok {
		return []string{norm + map[string]string{"gamma": ".weight", "beta": ".bias"}[leaf]}
	}
	key := "." + w.key + "." + leaf
	switch part {
	case "self_attention/linear_0":
		names := []string{w.self + "." + w.query + "." + leaf, w.self + key, w.self + "." + w.value + "." + leaf}
		if leaf == "bias" {
			names[1] = "" // keys have none
		}
		return names
	case "self_attention/linear_1":
		return []string{w.self + "." + w.out + "." + leaf}
	case "attention/linear_0":
		return []string{w.cross + "." + w.query + "." + leaf}
	case "attention/linear_1":
		names := []string{w.cross + key, w.cross + "." + w.value + "." + leaf}
		if leaf == "bias" {
			names[0] = ""
		}
		return names
	case "attention/linear_2":
		return []string{w.cross + "." + w.out + "." + leaf}
	case "ffn/linear_0":
		return []string{w.wide + "." + leaf}
	case "ffn/linear_1":
		return []string{w.narrow + "." + leaf}
	}
	return nil
}

func openOpenAI(fsys fs.FS, name string) (*Checkpoint, error) {
	raw, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, err
	}
	f, err := torchfile.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	w := openAIWords()
	w.prefix = "model_state_dict/"
	c := &Checkpoint{
		file:       name,
		weights:    func(name string) (t tensor.Tensor, ok bool) { t, ok = f.Tensors[name]; return t, ok },
		names:      w.translate,
		AudioHeads: int(f.Numbers["dims/n_audio_head"]), TextHeads: int(f.Numbers["dims/n_text_head"]),
	}
	if c.AudioHeads == 0 || c.TextHeads == 0 {
		return nil, fmt.Errorf("%s: no dims with n_audio_head and n_text_head: is it one of OpenAI's Whisper models?", name)
	}
	return c, c.complete(fsys)
}

func openHuggingFace(fsys fs.FS) (*Checkpoint, error) {
	c := &Checkpoint{}
	var tensors map[string]tensor.Tensor
	var err error
	if tensors, c.file, err = readHuggingFace(fsys); err != nil {
		return nil, err
	}
	c.weights = func(name string) (t tensor.Tensor, ok bool) { t, ok = tensors[name]; return t, ok }
	w := huggingFaceWords()
	if _, ok := tensors["model.encoder.conv1.weight"]; ok {
		w.prefix = "model."
	}
	c.names = w.translate
	var config struct {
		EncoderHeads  int      `json:"encoder_attention_heads"`
		DecoderHeads  int      `json:"decoder_attention_heads"`
		Alignment     [][2]int `json:"alignment_heads"`
		Suppress      []int    `json:"suppress_tokens"`
		SuppressFirst []int    `json:"begin_suppress_tokens"`
	}
	if err := readJSON(fsys, "config.json", &config); err != nil {
		return nil, err
	}
	// What both files say, the second says better.
	if err := readJSON(fsys, "generation_config.json", &config); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if config.EncoderHeads == 0 || config.DecoderHeads == 0 {
		return nil, errors.New("config.json: encoder_attention_heads or decoder_attention_heads is missing")
	}
	c.AudioHeads, c.TextHeads = config.EncoderHeads, config.DecoderHeads
	c.Suppress, c.SuppressFirst, c.Alignment = config.Suppress, config.SuppressFirst, config.Alignment
	return c, c.complete(fsys)
}

// readHuggingFace reads the weights, from however many files.
func readHuggingFace(fsys fs.FS) (tensors map[string]tensor.Tensor, file string, err error) {
	const single, index, torch = "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"
	raw, err := fs.ReadFile(fsys, single)
	if err == nil {
		if tensors, err = safetensors.Parse(raw); err != nil {
			err = fmt.Errorf("%s: %w", single, err)
		}
		return tensors, single, err
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, "", err
	}
	var parts struct {
		Files map[string]string `json:"weight_map"`
	}
	err = readJSON(fsys, index, &parts)
	if err == nil {
		tensors, err = readParts(fsys, parts.Files)
		return tensors, index, err
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, "", err
	}
	if raw, err = fs.ReadFile(fsys, torch); err != nil {
		return nil, "", err
	}
	f, err := torchfile.Parse(raw)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", torch, err)
	}
	return f.Tensors, torch, nil
}

// readParts reads the files that hold the arrays.
func readParts(fsys fs.FS, fileOf map[string]string) (map[string]tensor.Tensor, error) {
	read := map[string]map[string]tensor.Tensor{}
	out := make(map[string]tensor.Tensor, len(fileOf))
	for name, file := range fileOf {
		if read[file] == nil {
			raw, err := fs.ReadFile(fsys, file)
			if err != nil {
				return nil, err
			}
			if read[file], err = safetensors.Parse(raw); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
		}
		t, ok := read[file][name]
		if !ok {
			return nil, fmt.Errorf("%s: array %q is not in it, though the index says so", file, name)
		}
		out[name] = t
	}
	return out, nil
}

// complete reads the tokenizer and fills in what the folder does not say.
func (c *Checkpoint) complete(fsys fs.FS) error {
	embedding, ok := c.Shape("decoder/embeddings/weight")
	if !ok || len(embedding) != 2 {
		return fmt.Errorf("%s: no token embedding in it, or one of the wrong shape %v: is it a Whisper model?", c.file, embedding)
	}
	var err error
	if c.Vocab, err = readTokenizer(fsys, embedding[0]); err != nil {
		return err
	}
	if len(c.Suppress) == 0 {
		c.Suppress = notSpoken(c.Vocab)
	}
	if len(c.SuppressFirst) == 0 {
		c.SuppressFirst = c.Vocab.Encode(" ")
		if id, ok := c.Vocab.ID("<|endoftext|>"); ok {
			c.SuppressFirst = append(c.SuppressFirst, id)
		}
	}
	if len(c.Alignment) == 0 {
		layers := 0
		for c.has(fmt.Sprintf("decoder/layer_%d/ffn/linear_0/weight", layers)) {
			layers++
		}
		c.Alignment = alignments()[size{layers, c.TextHeads, embedding[0]}]
	}
	return nil
}

func (c *Checkpoint) has(name string) bool {
	_, ok := c.Shape(name)
	return ok
}
