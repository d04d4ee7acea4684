package rtpengine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// reply is what the commands' replies have in common.
type reply struct {
	result, sdp, toTag string
	fromTags           []string
	// medias are the sources of the m-lines by their a=label.
	medias map[string]source
}

// source is the side of a call that one m-line's audio comes from.
type source struct {
	// tag is the side's tag, label the name that the proxy has given it.
	tag, label string
	// mode is the direction of what it sends: sendrecv, sendonly, recvonly or
	// inactive.
	mode string
}

// parseReply reads a reply; one that is an error is returned as an *Error.
func parseReply(command string, b []byte) (reply, error) {
	v, err := decode(b)
	if err != nil {
		return reply{}, fmt.Errorf("rtpengine: the reply to %s: %w", command, err)
	}
	d, ok := v.(map[string]any)
	if !ok {
		return reply{}, fmt.Errorf("rtpengine: the reply to %s is no dictionary", command)
	}
	r := reply{result: text(d, "result"), sdp: text(d, "sdp"), toTag: text(d, "to-tag"), medias: map[string]source{}}
	switch r.result {
	case "error":
		return reply{}, &Error{command, text(d, "error-reason")}
	case "":
		return reply{}, fmt.Errorf("rtpengine: the reply to %s has no result", command)
	}
	if tags, ok := d["from-tags"].([]any); ok {
		for _, t := range tags {
			if s, ok := t.(string); ok {
				r.fromTags = append(r.fromTags, s)
			}
		}
	}
	r.fromMediaLabels(d)
	r.fromTagMedias(d)
	return r, nil
}

// fromMediaLabels reads {LABEL: {tag, label, mode}}.
func (r *reply) fromMediaLabels(d map[string]any) {
	labels, _ := d["media-labels"].(map[string]any)
	for _, l := range slices.Sorted(maps.Keys(labels)) {
		if m, ok := labels[l].(map[string]any); ok {
			r.medias[l] = source{tag: text(m, "tag"), label: text(m, "label"), mode: text(m, "mode")}
		}
	}
}

// fromTagMedias reads the same in its other order, [{tag, label, medias:
// [{label, mode}]}], for what is missing.
func (r *reply) fromTagMedias(d map[string]any) {
	tags, _ := d["tag-medias"].([]any)
	for _, t := range tags {
		tag, _ := t.(map[string]any)
		medias, _ := tag["medias"].([]any)
		for _, m := range medias {
			media, _ := m.(map[string]any)
			l := text(media, "label")
			if _, known := r.medias[l]; l != "" && !known {
				r.medias[l] = source{tag: text(tag, "tag"), label: text(tag, "label"), mode: text(media, "mode")}
			}
		}
	}
}

func text(d map[string]any, key string) string {
	s, _ := d[key].(string)
	return s
}

// subscribe asks for copies of what the call's sides send. The reply has an
// offer.
func (c *Client) subscribe(ctx context.Context, q Request) (reply, error) {
	args := map[string]any{"call-id": q.CallID, "ICE": "remove", "DTLS": "off"}
	// With siprec, the m-lines have labels, and the reply tells whose they are.
	flags := []string{"siprec"}
	if len(q.Tags) == 0 {
		flags = append(flags, "all")
	} else {
		args["from-tags"] = q.Tags
	}
	args["flags"] = flags
	args["transport-protocol"] = "RTP/AVP"
	if q.Secure {
		args["transport-protocol"] = "RTP/SAVP"
	}
	if q.Codec != "" {
		args["codec"] = map[string]any{"strip": []string{"all"}, "transcode": []string{q.Codec}}
	}
	r, err := c.do(ctx, "subscribe request", args)
	if err != nil {
		return r, err
	}
	if r.sdp == "" || r.toTag == "" {
		return r, errors.New("rtpengine: the reply to subscribe request has no sdp or no to-tag: it needs rtpengine 9.5 or newer")
	}
	return r, nil
}

// accept answers the offer of a subscription.
func (c *Client) accept(ctx context.Context, callID, toTag string, sdp []byte) error {
	_, err := c.do(ctx, "subscribe answer", map[string]any{
		"call-id": callID, "to-tag": toTag, "sdp": string(sdp), "flags": []string{"allow transcoding"},
	})
	return err
}

func (c *Client) unsubscribe(ctx context.Context, callID, toTag string) error {
	_, err := c.do(ctx, "unsubscribe", map[string]any{"call-id": callID, "to-tag": toTag})
	return err
}

// query returns nil where the call is running.
func (c *Client) query(ctx context.Context, callID string) error {
	_, err := c.do(ctx, "query", map[string]any{"call-id": callID})
	return err
}
