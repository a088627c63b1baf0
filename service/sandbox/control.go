package sandbox

import (
	"errors"
	"net/http"
)

// controlRoutes steer the sandbox; Tally has nothing like them.
func (s *Sandbox) controlRoutes() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, handle := range map[string]func(*Sandbox, *http.Request) *reply{
		"POST /_sandbox/forms/{formId}/submissions": controlSubmit,
		"PUT /_sandbox/plan":                        controlPlan,
		"PUT /_sandbox/keys/{key}":                  func(s *Sandbox, r *http.Request) *reply { return s.controlKey(r, false) },
		"DELETE /_sandbox/keys/{key}":               func(s *Sandbox, r *http.Request) *reply { return s.controlKey(r, true) },
		"GET /_sandbox/requests":                    controlRequests,
		"DELETE /_sandbox/requests":                 controlForgetRequests,
		"PUT /_sandbox/faults":                      controlFaults,
		"DELETE /_sandbox/faults":                   controlNoFaults,
		"POST /_sandbox/reset":                      controlReset,
		"GET /_sandbox/behaviours":                  controlBehaviours,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			handle(s, r).write(w)
		})
	}
	return mux
}

func controlBody(r *http.Request) (map[string]any, *reply) {
	value, err := decode(r.Body)
	if err != nil {
		return nil, failure(http.StatusBadRequest, "body is not JSON: "+err.Error())
	}
	body, isObject := value.(map[string]any)
	if !isObject {
		return nil, failure(http.StatusBadRequest, "body must be a JSON object")
	}
	return body, nil
}

// controlSubmit takes the answers as its body, by question title or id; an
// empty body invents them. With ?partial=true the form is left half-way, with
// ?undelivered=true no webhook ever gets it.
func controlSubmit(s *Sandbox, r *http.Request) *reply {
	answers, refusal := controlBody(r)
	if refusal != nil {
		return refusal
	}
	submit := s.Submit
	switch {
	case r.URL.Query().Get("partial") == "true":
		submit = s.SubmitPartial
	case r.URL.Query().Get("undelivered") == "true":
		submit = s.SubmitUndelivered
	}
	id, err := submit(r.PathValue("formId"), answers)
	if refused := new(SubmitError); errors.As(err, &refused) {
		return failure(refused.Status, refused.Message)
	}
	return created(map[string]string{"formId": r.PathValue("formId"), "submissionId": id})
}

func controlPlan(s *Sandbox, r *http.Request) *reply {
	body, refusal := controlBody(r)
	if refusal != nil {
		return refusal
	}
	plan, _ := body["plan"].(string)
	organizationID, _ := body["organizationId"].(string)
	if err := s.SetPlan(organizationID, Plan(plan)); err != nil {
		return failure(http.StatusBadRequest, err.Error())
	}
	return empty(http.StatusNoContent)
}

func (s *Sandbox) controlKey(r *http.Request, revoked bool) *reply {
	if err := s.RevokeKey(r.PathValue("key"), revoked); err != nil {
		return failure(http.StatusNotFound, err.Error())
	}
	return empty(http.StatusNoContent)
}

func controlRequests(s *Sandbox, _ *http.Request) *reply { return ok(s.tally.snapshot()) }

func controlForgetRequests(s *Sandbox, _ *http.Request) *reply {
	s.tally.reset()
	return empty(http.StatusNoContent)
}

func controlFaults(s *Sandbox, r *http.Request) *reply {
	script, err := ParseFaults(r.Body)
	if err != nil {
		return failure(http.StatusBadRequest, err.Error())
	}
	s.SetFaults(script)
	return empty(http.StatusNoContent)
}

func controlNoFaults(s *Sandbox, _ *http.Request) *reply {
	s.SetFaults(nil)
	return empty(http.StatusNoContent)
}

func controlReset(s *Sandbox, _ *http.Request) *reply {
	if err := s.Reset(); err != nil {
		return failure(http.StatusInternalServerError, err.Error())
	}
	return empty(http.StatusNoContent)
}

func controlBehaviours(*Sandbox, *http.Request) *reply { return ok(Behaviours()) }
