package web

import "slices"

// A timeline is the last runs, oldest first: how each ended, and how much it sent.
type timeline struct {
	ID, Title, Desc string
	Width, Height   int
	Base            int
	Marks           []runMark
	Labels          []gridLabel
	Runs            []Run // newest first, for the table
}

type runMark struct {
	X, Mid, Y, Height int
	Width             int
	Tone              Tone
	Glyph, Title      string
}

// shownRuns is how many runs the timeline has at most.
const shownRuns = 30

// glyphs say by shape what colours say too.
var glyphs = map[Tone]string{Good: "✓", Calm: "·", Attention: "!", Bad: "✕"}

func timelineOf(runs []Run) *timeline {
	if len(runs) == 0 {
		return nil
	}
	runs = runs[:min(shownRuns, len(runs))]
	const pitch, left, high = 22, 4, 72
	t := &timeline{ID: "runs-figure", Title: "The last " + count(len(runs), "run"), Base: 20 + high, Width: left + pitch*max(len(runs), 12) + 8, Height: high + 64, Runs: runs}
	ends := map[Tone]int{}
	peak := 1
	for i := range runs {
		ends[runs[i].Tone]++
		peak = max(peak, int(runs[i].Sent.Seconds))
	}
	t.Desc = "One mark a run, oldest on the left; the bar is what it sent. " + count(ends[Good]+ends[Calm], "run") + " went well, " +
		number(ends[Attention]) + " left something for a person, " + number(ends[Bad]) + " failed. The table below has every figure."
	for i, r := range slices.Backward(runs) {
		n := len(runs) - 1 - i
		h := int(r.Sent.Seconds) * high / peak
		if r.Sent.Seconds > 0 {
			h = max(h, 3)
		}
		x := left + n*pitch
		t.Marks = append(t.Marks, runMark{
			X: x + 4, Mid: x + pitch/2, Y: t.Base - h, Height: h, Width: pitch - 8, Tone: r.Tone, Glyph: glyphs[r.Tone],
			Title: short(r.Started) + ": " + r.End + ", " + count(r.Sent.Rows, "entry") + " sent, " + hours(r.Sent.Seconds),
		})
	}
	oldest, newest := runs[len(runs)-1], runs[0]
	t.Labels = append(t.Labels, gridLabel{left, t.Height - 4, short(oldest.Started)})
	if len(runs) > 9 {
		t.Labels = append(t.Labels, gridLabel{left + pitch*len(runs), t.Height - 4, short(newest.Started)})
	}
	return t
}
