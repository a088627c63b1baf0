package sandbox

import (
	"fmt"
	"time"
)

type seedWebhook struct {
	ID                 string        `json:"id"`
	FormID             string        `json:"formId"`
	URL                string        `json:"url"`
	SigningSecret      *string       `json:"signingSecret"`
	HTTPHeaders        []httpHeader  `json:"httpHeaders"`
	ExternalSubscriber *string       `json:"externalSubscriber"`
	Enabled            bool          `json:"enabled"`
	CreatedAt          time.Time     `json:"createdAt"`
	History            []seedHistory `json:"history"`
}

// seedHistory is a run of events that ended alike, oldest run first.
type seedHistory struct {
	Status     string `json:"status"`
	Count      int    `json:"count"`
	StatusCode *int   `json:"statusCode"`
	Response   string `json:"response"`
	Retry      int    `json:"retry"`
}

func (st *state) plantWebhook(seeded seedWebhook) error {
	f := st.form(seeded.FormID)
	if f == nil {
		return fmt.Errorf("form %q is not in the seed", seeded.FormID)
	}
	w := &webhook{
		ID: seeded.ID, FormID: seeded.FormID, URL: seeded.URL, SigningSecret: seeded.SigningSecret,
		HTTPHeaders: seeded.HTTPHeaders, EventTypes: []string{"FORM_RESPONSE"},
		ExternalSubscriber: seeded.ExternalSubscriber, IsEnabled: seeded.Enabled,
		CreatedAt: stamp(seeded.CreatedAt), UpdatedAt: stamp(seeded.CreatedAt),
	}
	for _, sub := range f.latest(seeded.events()) {
		w.events = append(w.events, seeded.event(w, f, sub))
	}
	for _, e := range w.events {
		if e.status == "SUCCEEDED" {
			synced := stamp(e.updatedAt)
			w.LastSyncedAt = &synced
		}
	}
	st.webhooks = append(st.webhooks, w)
	return nil
}

func (seeded seedWebhook) events() int {
	total := 0
	for _, run := range seeded.History {
		total += run.Count
	}
	return total
}

// latest are the newest completed submissions, oldest of them first.
func (f *form) latest(n int) []*submission {
	chosen := make([]*submission, 0, n)
	for i := len(f.submissions) - 1; i >= 0 && len(chosen) < n; i-- {
		if f.submissions[i].completed {
			chosen = append([]*submission{f.submissions[i]}, chosen...)
		}
	}
	return chosen
}

// event takes the run that the next event of the webhook falls into.
func (seeded seedWebhook) event(w *webhook, f *form, sub *submission) *event {
	number := len(w.events)
	var run seedHistory
	for _, run = range seeded.History {
		if number < run.Count {
			break
		}
		number -= run.Count
	}
	x := hashText(w.ID, "event", fmt.Sprint(len(w.events)))
	e := &event{
		id: shortID(x, 6), eventID: uuidOf(x), formID: f.id, url: w.URL, status: run.Status,
		statusCode: run.StatusCode, retry: run.Retry, submission: sub, createdAt: sub.at.Add(time.Second),
	}
	if run.Response != "" {
		e.response = &run.Response
	}
	e.updatedAt = e.createdAt.Add(time.Second)
	for i := range min(run.Retry, len(retryWaits)) {
		e.updatedAt = e.updatedAt.Add(retryWaits[i])
	}
	return e
}
