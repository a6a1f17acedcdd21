{{- define "runner.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "runner.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "runner.labels" -}}
{{ include "runner.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* worker.shutdown_grace in seconds: with KEDA at least as long as the longest run. */ -}}
{{- define "runner.grace" -}}
{{- if .Values.keda.enabled }}{{ max (int .Values.worker.shutdownGraceSeconds) (int .Values.keda.longestRunSeconds) }}{{ else }}{{ int .Values.worker.shutdownGraceSeconds }}{{ end }}
{{- end }}

{{- /* runner.yaml: settings, and the access to the web. */ -}}
{{- define "runner.settings" -}}
{{- $web := dict }}
{{- if .Values.web.enabled }}
{{- if not (or .Values.web.tokens (dig "web" "tokens" "" .Values.settings) (dig "web" "trusted_header" "" .Values.settings)) }}
{{- fail "web.tokens is empty, and runner web would not start: `runner web --new-token NAME` prints one" }}
{{- end }}
{{- $web = dict "web" (dict "tokens" .Values.web.tokens "hosts" .Values.web.hosts) }}
{{- end }}
{{- toYaml (mergeOverwrite $web (deepCopy .Values.settings)) }}
{{- end }}

{{- /* What all pods share; with the component's name, command, and own lines. */ -}}
{{- define "runner.pod" -}}
# A Service of this chart would otherwise set a variable such as RUNNER_WEB_PORT, which is a setting of the runner.
enableServiceLinks: false
automountServiceAccountToken: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  # Lets the user read the files of secrets.
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
volumes:
  - name: jobs
    configMap: {name: {{ .Values.existingJobsConfigMap | default (printf "%s-jobs" (include "runner.name" .)) }}}
  - name: settings
    configMap: {name: {{ include "runner.name" . }}-settings}
  - name: redis
    secret: {secretName: {{ .Values.redis.existingSecret }}, defaultMode: 0440}
  {{- with .Values.jobSecrets.existingSecret }}
  - name: job-secrets
    secret: {secretName: {{ . }}, defaultMode: 0440}
  {{- end }}
  - name: tmp
    emptyDir: {}
{{- end }}

{{- define "runner.container" -}}
image: {{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: jobs, mountPath: /app/jobs.d, readOnly: true}
  - {name: settings, mountPath: /app/runner.yaml, subPath: runner.yaml, readOnly: true}
  - {name: redis, mountPath: /run/secrets/runner, readOnly: true}
  {{- if .Values.jobSecrets.existingSecret }}
  - {name: job-secrets, mountPath: /run/secrets/jobs, readOnly: true}
  {{- end }}
  - {name: tmp, mountPath: /tmp}
{{- end }}

{{- define "runner.env" -}}
- {name: RUNNER_REDIS_URL, value: "file:/run/secrets/runner/redis_url"}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end }}
