package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/template"
	"time"
)

// Webhook is where events are posted to.
type Webhook struct {
	URL Secret
	// Preset is json or slack. Template takes its place.
	Preset   string
	Template string
	// On lists the kinds that are told; empty: all.
	On []string
}

// maxMessage bounds what a template can make.
const maxMessage = 64 << 10

// body makes the message of an event.
func (w *Webhook) body(e *Event) ([]byte, error) {
	if w.Template != "" {
		t, err := parse(w.Template)
		if err != nil {
			return nil, err
		}
		return execute(t, e)
	}
	if w.Preset == "slack" {
		// Slack reads <...> as links and & as the beginning of an entity.
		text := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(e.headline())
		return json.Marshal(map[string]string{"text": text})
	}
	return json.Marshal(struct {
		Type   string `json:"type"`
		Schema int    `json:"schema"`
		*Event
	}{"notification", 1, e})
}

// headline is the text as it stands on its own in a chat.
func (e *Event) headline() string {
	what := string(e.Event)
	if e.Reminder {
		what += ", still"
	}
	return "tsupload: " + strings.ReplaceAll(what, "_", " ") + ": " + e.Text
}

func parse(text string) (*template.Template, error) {
	t, err := template.New("message").Funcs(template.FuncMap{"json": func(v any) (string, error) {
		b, err := json.Marshal(v)
		return string(b), err
	}}).Option("missingkey=error").Parse(text)
	return t, tidy(err)
}

func execute(t *template.Template, e *Event) ([]byte, error) {
	b := &capped{left: maxMessage}
	if err := t.Execute(b, e); err != nil {
		return nil, tidy(err)
	}
	if !json.Valid(b.Bytes()) {
		return nil, errors.New("what the template makes is not JSON")
	}
	return b.Bytes(), nil
}

// tidy takes the template's own name out of an error.
func tidy(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.TrimPrefix(err.Error(), "template: "))
}

// capped fails when too much is written to it.
type capped struct {
	bytes.Buffer
	left int
}

// Write implements io.Writer.
func (c *capped) Write(b []byte) (int, error) {
	if c.left -= len(b); c.left < 0 {
		return 0, fmt.Errorf("the message is larger than %d bytes", maxMessage)
	}
	return c.Buffer.Write(b)
}

// CheckTemplate tries a template on an event of every kind.
func CheckTemplate(text string) error {
	t, err := parse(text)
	if err != nil {
		return err
	}
	at := time.Date(2026, time.November, 20, 12, 0, 0, 0, time.UTC)
	for _, kind := range []Kind{Failure, Rejected, Held, InDoubt, Silence, Recovery} {
		e := Event{Event: kind, Source: "acme", Text: `source "acme": nothing`, Since: at, At: at, Exit: 3}
		switch kind {
		case Recovery:
			e.Of = Failure
		case Silence:
			e.User, e.Exit = "007", -1
		default:
			e.Run = "20261120T120000Z-5f1c9d3e"
		}
		if _, err := execute(t, &e); err != nil {
			return err
		}
	}
	return nil
}

// send posts an event.
func (w *Webhook) send(ctx context.Context, p *poster, e *Event) error {
	body, err := w.body(e)
	if err != nil {
		return err
	}
	return p.post(ctx, w.URL, nil, "application/json", body)
}
