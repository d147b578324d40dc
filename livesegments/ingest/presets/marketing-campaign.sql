SELECT
    ID AS customer_id,
    try_strptime(Dt_Customer, ['%d-%m-%Y', '%Y-%m-%d']) AT TIME ZONE 'UTC' AS updated_at,
    Year_Birth AS birth_year,
    nullif(Income, '') AS income
FROM source
