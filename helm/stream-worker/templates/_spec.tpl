{{/* The inline spec as JSON, of which only names and numbers are read here; the worker gets the text. */}}
{{- define "stream-worker.spec" -}}
{{- $spec := .Values.spec | fromYaml -}}
{{- with $spec.Error -}}
{{- contains "cannot unmarshal" . | ternary "spec: legal is a map, keys with their values" (printf "spec: it is no YAML: %s" .) | fail -}}
{{- end -}}
{{- if regexMatch "(?ms)^[^#%\\s.-].*^(---|\\.\\.\\.)" .Values.spec -}}
{{- fail "spec: there are several documents in it, divided by --- or ...; legal is one" -}}
{{- end -}}
{{- include "stream-worker.formed" $spec -}}
{{- $spec | toJson -}}
{{- end }}

{{/* The pipelines that are run, by their names, as JSON. */}}
{{- define "stream-worker.pipelines" -}}
{{- $only := .Values.run.only -}}
{{- $run := dict -}}
{{- range $name, $pipeline := (include "stream-worker.spec" . | fromJson).pipelines -}}
{{- if or (not $only) (has $name $only) -}}
{{- $_ := set $run $name $pipeline -}}
{{- end -}}
{{- end -}}
{{- $run | toJson -}}
{{- end }}

{{/* Refuse what Helm takes for true or false, such as `on` and `no`, and the worker for a text: `key` and `text`. */}}
{{- define "stream-worker.unquoted" -}}
{{- if has (.text | toString) (list "true" "false") -}}
{{- fail (printf "spec: %s: the chart has to know it, and Helm takes it for %v; put it in quotes" .key .text) -}}
{{- end -}}
{{- end }}

{{/* A `text` of the spec with its `${NAME}` and `${NAME:default}` as the pod will see them, as far as the chart knows them: a default may have its place taken by envFrom. */}}
{{- define "stream-worker.replaced" -}}
{{- $root := .root -}}
{{- $text := .text | toString -}}
{{- range $reference := regexFindAll "\\$\\{[^{}]*\\}" $text -1 -}}
{{- $inside := $reference | trimPrefix "${" | trimSuffix "}" -}}
{{- $name := regexFind "^[^:]*" $inside -}}
{{- $found := list -}}
{{- if and (ne $name $inside) (ne $name "file") -}}
{{- $found = list (trimPrefix (printf "%s:" $name) $inside) -}}
{{- end -}}
{{- range $root.Values.envFrom -}}
{{- if hasPrefix (.prefix | default "") $name -}}
{{- $found = list -}}
{{- end -}}
{{- end -}}
{{- range $root.Values.env -}}
{{- if eq .name $name -}}
{{- $found = hasKey . "value" | ternary (list .value) list -}}
{{- end -}}
{{- end -}}
{{- $text = replace $reference (concat $found (list $reference) | first) $text -}}
{{- end -}}
{{- $text -}}
{{- end }}

{{/* A value of the spec, `text` at `key`, that the chart has to know, as the pod will see it. */}}
{{- define "stream-worker.resolved" -}}
{{- include "stream-worker.unquoted" . -}}
{{- if not .text -}}
{{- fail (printf "spec: %s: the chart has to know it, and it is not there" .key) -}}
{{- end -}}
{{- if or (kindIs "map" .text) (kindIs "slice" .text) -}}
{{- fail (printf "spec: %s: the chart has to know it, and it is no text" .key) -}}
{{- end -}}
{{- $text := include "stream-worker.replaced" . -}}
{{- with regexFind "\\$\\{[^{}]*\\}" $text -}}
{{- fail (printf "spec: %s: the chart has to know it, and cannot know %s; give %s a value in env, or write it out" $.key . (regexFind "[^${:}]+" .)) -}}
{{- end -}}
{{- $text -}}
{{- end }}

{{/* Whole seconds, rounded up, of a duration such as 200ms, 25s or 2m: `root`, `key` and `text`. */}}
{{- define "stream-worker.seconds" -}}
{{- $text := include "stream-worker.resolved" . -}}
{{- if not (regexMatch "^\\d{1,9}(\\.\\d{1,9})?(ms|s|m|h|d)$" $text) -}}
{{- fail (printf "%s: %q is not a duration such as 200ms, 10s, 5m" .key $text) -}}
{{- end -}}
{{- $units := dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0 "d" 86400.0 -}}
{{- $unit := regexFind "[a-z]+$" $text -}}
{{- mulf (trimSuffix $unit $text | float64) (get $units $unit) | ceil | int -}}
{{- end }}

{{/* Seconds of the longest drain_timeout of what is run. */}}
{{- define "stream-worker.drain" -}}
{{- $root := . -}}
{{- if .Values.spec -}}
{{- $spec := include "stream-worker.spec" . | fromJson -}}
{{- $longest := 0 -}}
{{- range $name, $pipeline := include "stream-worker.pipelines" . | fromJson -}}
{{- $own := $pipeline.drain_timeout | default $spec.drain_timeout | default "25s" -}}
{{- $key := printf "pipelines.%s.drain_timeout" $name -}}
{{- $longest = max $longest (include "stream-worker.seconds" (dict "root" $root "key" $key "text" $own) | int) -}}
{{- end -}}
{{- $longest -}}
{{- else -}}
{{- include "stream-worker.seconds" (dict "root" . "key" "drainTimeout" "text" .Values.drainTimeout) -}}
{{- end -}}
{{- end }}

{{/* Seconds between SIGTERM and SIGKILL; what a preStop hook sleeps goes off them. */}}
{{- define "stream-worker.gracePeriod" -}}
{{- $drain := include "stream-worker.drain" . | int -}}
{{- $sleep := dig "preStop" "sleep" "seconds" 0 (.Values.lifecycle | default dict) | int -}}
{{- $least := add $drain $sleep 15 -}}
{{- $given := .Values.terminationGracePeriodSeconds -}}
{{- if kindIs "invalid" $given -}}
{{- add $least 5 -}}
{{- else if lt (int $given) $least -}}
{{- fail (printf "terminationGracePeriodSeconds: %d is too short: the worker drains for up to %d s and needs 15 more to commit and leave, after %d s of preStop; legal is %d or more" (int $given) $drain $sleep $least) -}}
{{- else -}}
{{- int $given -}}
{{- end -}}
{{- end }}

{{/* Addresses of the brokers, with commas. */}}
{{- define "stream-worker.brokers" -}}
{{- $text := ((include "stream-worker.spec" . | fromJson).kafka | default dict).brokers -}}
{{- if kindIs "slice" $text -}}{{- $text = join "," $text -}}{{- end -}}
{{- include "stream-worker.resolved" (dict "root" . "key" "kafka.brokers" "text" $text) | replace " " "" -}}
{{- end }}

{{/* What pipelines read, as JSON: for each its `pipeline`, `group`, `start` and `topics`. */}}
{{- define "stream-worker.reading" -}}
{{- $root := . -}}
{{- $spec := include "stream-worker.spec" . | fromJson -}}
{{- $read := list -}}
{{- range $name, $pipeline := include "stream-worker.pipelines" . | fromJson -}}
{{- $prefix := printf "pipelines.%s" $name -}}
{{- include "stream-worker.unquoted" (dict "key" (printf "the name of pipelines.%s" $name) "text" $name) -}}
{{- $group := hasKey $pipeline "group" | ternary $pipeline.group (printf "%v.%s" $spec.name $name) -}}
{{- $topics := list -}}
{{- range kindIs "slice" $pipeline.from | ternary $pipeline.from (list $pipeline.from) -}}
{{- $topics = append $topics (include "stream-worker.resolved" (dict "root" $root "key" (printf "%s.from" $prefix) "text" .)) -}}
{{- end -}}
{{- $read = append $read (dict
  "pipeline" $name
  "group" (include "stream-worker.resolved" (dict "root" $root "key" (printf "%s.group" $prefix) "text" $group))
  "start" (include "stream-worker.resolved" (dict "root" $root "key" (printf "%s.start" $prefix) "text" ($pipeline.start | default "oldest")))
  "topics" $topics) -}}
{{- end -}}
{{- dict "reading" $read | toJson -}}
{{- end }}

{{/* Topics by the pipelines that read them, as JSON, each with its `partitions`, as far as the chart knows them: a default may have its place taken by envFrom. */}}
{{- define "stream-worker.sources" -}}
{{- $root := . -}}
{{- $topics := (include "stream-worker.spec" . | fromJson).topics | default dict -}}
{{- $sources := dict -}}
{{- range $name, $pipeline := include "stream-worker.pipelines" . | fromJson -}}
{{- $own := list -}}
{{- range kindIs "slice" $pipeline.from | ternary $pipeline.from (list $pipeline.from) -}}
{{- $topic := include "stream-worker.replaced" (dict "root" $root "text" .) -}}
{{- $told := get ($root.Values.partitions | default dict) $topic | default (get $topics $topic | default dict).partitions | default "" -}}
{{- $own = append $own (dict "topic" $topic "partitions" (include "stream-worker.replaced" (dict "root" $root "text" $told))) -}}
{{- end -}}
{{- $_ := set $sources $name $own -}}
{{- end -}}
{{- $sources | toJson -}}
{{- end }}

{{/* The most pods that have something to read: partitions of the largest group, over processes in a pod; 0 where it is not known. */}}
{{- define "stream-worker.busy" -}}
{{- $most := 0 -}}
{{- $known := true -}}
{{- range include "stream-worker.sources" . | fromJson -}}
{{- $partitions := 0 -}}
{{- range . -}}
{{- $known = and $known (regexMatch "^[0-9]+$" .partitions) -}}
{{- $partitions = add $partitions (int .partitions) -}}
{{- end -}}
{{- $most = max $most $partitions -}}
{{- end -}}
{{- $known | ternary (divf $most .Values.run.processes | ceil | int) 0 -}}
{{- end }}

{{/* The same, where it has to be known. */}}
{{- define "stream-worker.ceiling" -}}
{{- $root := . -}}
{{- $_ := include "stream-worker.reading" . -}}
{{- range include "stream-worker.sources" . | fromJson -}}
{{- range . -}}
{{- $key := printf "topics.%s.partitions" .topic -}}
{{- if not .partitions -}}
{{- $where := hasPrefix "^" .topic | ternary "in the value partitions" (printf "in %s of the spec, or in the value partitions" $key) -}}
{{- fail (printf "partitions: the chart has to know how many %s has, since more pods would have nothing to read; say so %s" .topic $where) -}}
{{- end -}}
{{- if not (include "stream-worker.resolved" (dict "root" $root "key" $key "text" .partitions) | regexMatch "^[0-9]+$") -}}
{{- fail (printf "spec: %s: %s is no number" $key .partitions) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- include "stream-worker.busy" . -}}
{{- end }}

{{/* The most pods of an autoscaler: `root`, and `key`, that of its values. */}}
{{- define "stream-worker.maxReplicas" -}}
{{- $values := get .root.Values .key -}}
{{- $given := $values.maxReplicas -}}
{{- if not .root.Values.spec -}}
{{- if not $given -}}
{{- fail (printf "%s.maxReplicas: say how many; without spec the chart does not know the partitions" .key) -}}
{{- end -}}
{{- else -}}
{{- $ceiling := include "stream-worker.ceiling" .root | int -}}
{{- if gt (int $given) $ceiling -}}
{{- fail (printf "%s.maxReplicas: %d pods are more than have partitions to read; legal is at most %d" .key (int $given) $ceiling) -}}
{{- end -}}
{{- $given = $given | default $ceiling -}}
{{- end -}}
{{- if gt (int $values.minReplicas) (int $given) -}}
{{- fail (printf "%s.minReplicas: %d is more than maxReplicas, %d" .key (int $values.minReplicas) (int $given)) -}}
{{- end -}}
{{- int $given -}}
{{- end }}
